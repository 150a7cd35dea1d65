package expr

// FunctionDoc says what a function does.
type FunctionDoc struct {
	Name string
	Use  string // as in "truncate N TEXT"
	Text string
}

// Functions are all functions of templates, by name.
func Functions() []FunctionDoc {
	docs := make([]FunctionDoc, 0, len(templateFunctionNames))
	for _, name := range templateFunctionNames {
		f := templateFunctions[name]
		docs = append(docs, FunctionDoc{Name: name, Use: f.use, Text: f.text})
	}
	return docs
}

// ExpressionFunctions are all functions of expressions, by name; their operators
// are CEL's.
func ExpressionFunctions() []FunctionDoc {
	docs := make([]FunctionDoc, 0, len(expressionFunctionNames))
	for _, name := range expressionFunctionNames {
		f := expressionFunctions[name]
		docs = append(docs, FunctionDoc{Name: name, Use: f.use, Text: f.text})
	}
	return docs
}
