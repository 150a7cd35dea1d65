package expr

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxWeight bounds each value of an evaluation. Lists and objects of ours know
// their weight, since one that holds another twice, and so on, is small in
// memory and endless to go through.
const maxWeight = 16 << 20

// weightOf a value that holds no others; texts weigh their length besides.
const weightOf = 16

var errTooLarge = &Error{Message: fmt.Sprintf("a value is larger than %d MiB", maxWeight>>20)}

// maxExact is the largest of the whole numbers that JSON's readers all keep as they are.
const maxExact = 1 << 53

// weight is how much there is to go through in a value.
func weight(v ref.Val) int {
	switch v := v.(type) {
	case *list:
		return v.weight
	case *object:
		return v.weight
	case types.String:
		return weightOf + len(v)
	case types.Bytes:
		return weightOf + len(v)
	}
	return weightOf
}

// list is a list.
type list struct {
	elems  []ref.Val
	weight int
	// grown is the length of what lists made of this one by adding share with it.
	// One that is as long as that grows in place.
	grown *int
}

func newList(elems []ref.Val) ref.Val {
	l := &list{elems: elems, weight: weightOf}
	for _, e := range elems {
		if l.weight += weight(e); l.weight > maxWeight {
			return types.WrapErr(errTooLarge)
		}
	}
	return l
}

// Add implements [traits.Adder].
func (l *list) Add(other ref.Val) ref.Val {
	o, ok := asLister(other)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	sum := &list{weight: l.weight + o.weight - weightOf, grown: l.grown}
	if sum.weight > maxWeight {
		return types.WrapErr(errTooLarge)
	}
	if l.growsInPlace() {
		sum.elems = append(l.elems, o.elems...) //nolint:gocritic // nobody sees what is behind the end
	} else {
		sum.elems, sum.grown = slices.Concat(l.elems, o.elems), new(int)
	}
	*sum.grown = len(sum.elems)
	return sum
}

func (l *list) growsInPlace() bool { return l.grown != nil && *l.grown == len(l.elems) }

// asLister makes ours of any list: CEL's own is what folds begin with.
func asLister(v ref.Val) (*list, bool) {
	switch v := v.(type) {
	case *list:
		return v, true
	case traits.Lister:
		elems := []ref.Val{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			elems = append(elems, it.Next())
		}
		made, ok := newList(elems).(*list)
		return made, ok
	}
	return nil, false
}

// Contains implements [traits.Container].
func (l *list) Contains(v ref.Val) ref.Val {
	for _, e := range l.elems {
		if types.Equal(e, v) == types.True {
			return types.True
		}
	}
	return types.False
}

// Get implements [traits.Indexer].
func (l *list) Get(index ref.Val) ref.Val {
	i, err := types.IndexOrError(index)
	if err != nil || i < 0 || i >= len(l.elems) {
		return types.WrapErr(&Error{Message: "the list has no such item"})
	}
	return l.elems[i]
}

// Iterator implements [traits.Iterable].
func (l *list) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, l.elems).Iterator()
}

// Size implements [traits.Sizer].
func (l *list) Size() ref.Val { return types.Int(len(l.elems)) }

// Equal implements [ref.Val].
func (l *list) Equal(other ref.Val) ref.Val {
	o, ok := asLister(other)
	if !ok || len(o.elems) != len(l.elems) || o.weight != l.weight {
		return types.False
	}
	for i, e := range l.elems {
		if types.Equal(e, o.elems[i]) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToNative implements [ref.Val].
func (*list) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType implements [ref.Val].
func (l *list) ConvertToType(t ref.Type) ref.Val { return convert(l, t) }

// Type implements [ref.Val].
func (*list) Type() ref.Type { return types.ListType }

// Value implements [ref.Val].
func (l *list) Value() any { return l.elems }

// object is a map with texts as keys.
type object struct {
	fields map[string]ref.Val
	weight int
}

func newObject(fields map[string]ref.Val) ref.Val {
	o := &object{fields: fields, weight: weightOf}
	for key, f := range fields {
		if o.weight += weightOf + len(key) + weight(f); o.weight > maxWeight {
			return types.WrapErr(errTooLarge)
		}
	}
	return o
}

// Contains implements [traits.Container].
func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

// Find implements [traits.Mapper].
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, ok := o.fields[string(name)]
	return v, ok
}

// Get implements [traits.Indexer].
func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.WrapErr(errNoField)
}

var errNoField = &Error{Message: "there is no such field; ask with `has` first"}

// Iterator implements [traits.Iterable]; the order is that of the keys, so that
// an expression gives the same each time.
func (o *object) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, slices.Sorted(maps.Keys(o.fields))).Iterator()
}

// Size implements [traits.Sizer].
func (o *object) Size() ref.Val { return types.Int(len(o.fields)) }

// Equal implements [ref.Val].
func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	if !ok || len(p.fields) != len(o.fields) || p.weight != o.weight {
		return types.False
	}
	for key, v := range o.fields {
		if w, ok := p.fields[key]; !ok || types.Equal(v, w) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToNative implements [ref.Val].
func (*object) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType implements [ref.Val].
func (o *object) ConvertToType(t ref.Type) ref.Val { return convert(o, t) }

// Type implements [ref.Val].
func (*object) Type() ref.Type { return types.MapType }

// Value implements [ref.Val].
func (o *object) Value() any { return o.fields }

var errNoNative = &Error{Message: "the value stays in the expression"}

// convert answers type(x) and dyn(x), all that there is for lists and objects.
func convert(v ref.Val, t ref.Type) ref.Val {
	switch t {
	case v.Type():
		return v
	case types.TypeType:
		return v.Type().(ref.Val) //nolint:forcetypeassert // types are values
	}
	return types.MaybeNoSuchOverloadErr(v)
}

// fromGo makes a value of what encoding/json decodes, or an error of anything else.
func fromGo(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case bool:
		return types.Bool(v)
	case string:
		return types.String(v)
	case float64:
		return types.Double(v)
	case int:
		return types.Int(v)
	case json.Number:
		n, err := v.Float64()
		if err != nil {
			return types.WrapErr(errNotJSON)
		}
		return types.Double(n)
	case []any:
		elems := make([]ref.Val, len(v))
		for i, e := range v {
			if elems[i] = fromGo(e); types.IsError(elems[i]) {
				return elems[i]
			}
		}
		return newList(elems)
	case map[string]any:
		fields := make(map[string]ref.Val, len(v))
		for key, f := range v {
			field := fromGo(f)
			if types.IsError(field) {
				return field
			}
			fields[key] = field
		}
		return newObject(fields)
	case map[string]string:
		fields := make(map[string]ref.Val, len(v))
		for key, f := range v {
			fields[key] = types.String(f)
		}
		return newObject(fields)
	}
	return types.WrapErr(errNotJSON)
}

var errNotJSON = &Error{Message: "there is a value that JSON cannot say"}

// toGo makes of a value what encoding/json would decode. left is how long its
// JSON may be.
func toGo(v ref.Val, left *int) (any, error) {
	if *left -= 2; *left < 0 {
		return nil, &Error{Message: fmt.Sprintf("the result is larger than %d bytes", MaxText)}
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil //nolint:nilnil // null is a value
	case types.Bool:
		return bool(v), nil
	case types.String:
		*left -= len(v)
		return string(v), nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, &Error{Message: "the result has a number that JSON cannot say, such as what comes of dividing by zero"}
		}
		return float64(v), nil
	case types.Int:
		if v > maxExact || v < -maxExact {
			return nil, &Error{Message: "the result has a whole number of more than 53 bits, which would lose digits in JSON; make a text of it with `string`"}
		}
		return float64(v), nil
	case *object:
		made := make(map[string]any, len(v.fields))
		for key, f := range v.fields {
			field, err := toGo(f, left)
			if err != nil {
				return nil, err
			}
			*left -= len(key) + 4
			made[key] = field
		}
		return made, nil
	case traits.Lister:
		return listToGo(v, left)
	}
	return nil, &Error{Message: "the result has something that JSON cannot say"}
}

func listToGo(v traits.Lister, left *int) ([]any, error) {
	l, ok := asLister(v)
	if !ok {
		return nil, errTooLarge
	}
	made := make([]any, len(l.elems))
	for i, e := range l.elems {
		item, err := toGo(e, left)
		if err != nil {
			return nil, err
		}
		made[i] = item
	}
	return made, nil
}
