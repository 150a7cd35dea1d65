package expr

import (
	"fmt"
	"slices"
	"strings"
)

// stepFields are what there is of a step.
var stepFields = []string{"output", "json", "skipped", "failed"}

// responseFields are what there is of an http step's response.
var responseFields = []string{"status", "headers", "body", "json"}

// roots are the names that there are.
func (n Names) roots() []string {
	roots := []string{"query"}
	if len(n.Steps) > 0 {
		roots = append(roots, "steps")
	}
	if n.Item {
		roots = append(roots, "item", "index")
	}
	if n.Response {
		roots = append(roots, "response")
	}
	return roots
}

// check says what is wrong with a reference, such as `steps`, `NAME`, `output`;
// "" if it is in order. The dot is what the language puts in front of it.
func (n Names) check(path []string, dot string) string {
	root := path[0]
	switch {
	case !slices.Contains(n.roots(), root):
		return n.unknown(root, dot)
	case root == "steps":
		return n.checkStep(path, dot)
	case len(path) > 1 && root == "response" && !slices.Contains(responseFields, path[1]):
		return fmt.Sprintf("a response has `%s`, but no `%s`%s", strings.Join(responseFields, "`, `"), path[1], DidYouMean(path[1], responseFields))
	case len(path) > 1 && root == "query":
		return fmt.Sprintf("`%squery` is a text and has no fields", dot)
	case len(path) > 1 && root == "index":
		return fmt.Sprintf("`%sindex` is a number and has no fields", dot)
	}
	return ""
}

func (n Names) unknown(root, dot string) string {
	switch root {
	case "steps":
		return fmt.Sprintf("`%ssteps` is not to be had: the step depends on no other (`depends_on`)", dot)
	case "item", "index":
		return fmt.Sprintf("`%s%s` is to be had in a map step only", dot, root)
	case "response":
		return fmt.Sprintf("`%sresponse` is to be had in what an http step picks only", dot)
	}
	return fmt.Sprintf("there is no `%s%s`%s", dot, root, DidYouMean(root, n.roots()))
}

func (n Names) checkStep(path []string, dot string) string {
	if len(path) == 1 {
		return fmt.Sprintf("`%ssteps` alone is not to be had; name a step, as `%ssteps.%s.output`", dot, dot, n.Steps[0])
	}
	step := path[1]
	if !slices.Contains(n.Steps, step) {
		return fmt.Sprintf("`%ssteps.%s` is no step that this one depends on (`depends_on`)%s", dot, step, DidYouMean(step, n.Steps))
	}
	if len(path) == 2 {
		return ""
	}
	field := path[2]
	if !slices.Contains(stepFields, field) {
		return fmt.Sprintf("a step has `%s`, but no `%s`%s", strings.Join(stepFields, "`, `"), field, DidYouMean(field, stepFields))
	}
	if field != "json" && len(path) > 3 {
		return fmt.Sprintf("`%ssteps.%s.%s` has no fields", dot, step, field)
	}
	return ""
}
