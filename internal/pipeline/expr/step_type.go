package expr

import (
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// stepType is what a step is in expressions.
var stepType = types.NewObjectType("step")

var stepFieldTypes = map[string]*types.Type{
	"output": types.StringType, "json": types.DynType, "skipped": types.BoolType, "failed": types.BoolType,
}

// provider knows the fields of a step, for a mistake in one to be told at load.
type provider struct{ types.Provider }

// FindStructType implements [types.Provider].
func (provider) FindStructType(name string) (*types.Type, bool) {
	return types.NewTypeTypeWithParam(stepType), name == stepType.TypeName()
}

// FindStructFieldNames implements [types.Provider].
func (provider) FindStructFieldNames(name string) ([]string, bool) {
	return stepFields, name == stepType.TypeName()
}

// FindStructFieldType implements [types.Provider].
func (provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := stepFieldTypes[field]
	return &types.FieldType{Type: t}, ok && name == stepType.TypeName()
}

// NewValue implements [types.Provider].
func (provider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("unknown type %s", name)
}

// stepsValue are the steps.
func stepsValue(steps map[string]Output) ref.Val {
	fields := make(map[string]ref.Val, len(steps))
	for name, o := range steps {
		fields[name] = &stepValue{output: o}
	}
	return newObject(fields)
}

// stepValue is one step.
type stepValue struct {
	output Output
	json   ref.Val // once it is asked for
}

// Get implements [traits.Indexer].
func (s *stepValue) Get(field ref.Val) ref.Val {
	switch field {
	case types.String("output"):
		return types.String(s.output.Text)
	case types.String("skipped"):
		return types.Bool(s.output.Skipped)
	case types.String("failed"):
		return types.Bool(s.output.Failed)
	case types.String("json"):
		if s.json == nil {
			s.json = fromGo(s.output.JSON)
		}
		return s.json
	}
	return types.WrapErr(errNoField)
}

// Equal implements [ref.Val].
func (s *stepValue) Equal(other ref.Val) ref.Val { return types.Bool(s == other) }

// ConvertToNative implements [ref.Val].
func (*stepValue) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType implements [ref.Val].
func (s *stepValue) ConvertToType(t ref.Type) ref.Val { return convert(s, t) }

// Type implements [ref.Val].
func (*stepValue) Type() ref.Type { return stepType }

// Value implements [ref.Val].
func (s *stepValue) Value() any { return s.output }
