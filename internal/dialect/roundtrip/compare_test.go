package roundtrip_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/financecommander/tollgate/internal/llm"
)

// compare says what of one request is not in another. What was left out and
// noted, or is listed as silent, may be missing.
func (t *trip) compare(want, got *llm.Request, format llm.Format, dropped []string) error {
	if err := t.compareSettings(want, got, format, dropped); err != nil {
		return err
	}
	expected, have := said(t.provable(want.Messages)), said(t.provable(got.Messages))
	at := 0
	for _, f := range expected {
		switch {
		case at < len(have) && have[at].what == f.what:
			at++
		case !slices.ContainsFunc(dropped, func(path string) bool { return strings.HasPrefix(path, t.theirs.PartPath(f.pos)) }):
			return fmt.Errorf("lost %q\nleft out %q\n%w", f, dropped, differ(texts(expected), texts(have)))
		}
	}
	if at < len(have) {
		return fmt.Errorf("nobody said %q\n%w", have[at], differ(texts(expected), texts(have)))
	}
	return nil
}

// provable leaves out thinking that has no state of the model's format: it is for
// people, and no part of what is said to a model.
func (t *trip) provable(messages []llm.Message) []llm.Message {
	all := slices.Clone(messages)
	for i := range all {
		all[i].Parts = slices.DeleteFunc(slices.Clone(whole(all[i])), func(p llm.Part) bool {
			_, ok := p.(*llm.Thinking)
			return ok && (p.Base().Opaque == nil || p.Base().Opaque.Format != t.to)
		})
	}
	return all
}

func texts(facts []fact) []string {
	all := make([]string, len(facts))
	for i, f := range facts {
		all[i] = strconv.Quote(f.what)
	}
	return all
}

func (t *trip) compareSettings(want, got *llm.Request, format llm.Format, dropped []string) error {
	expected, have := settings(want), settings(got)
	for field, value := range expected {
		path := string(field)
		if named := t.theirs.FieldPath(field); named != "" {
			path = named
		}
		noted := slices.ContainsFunc(dropped, func(p string) bool {
			return strings.HasPrefix(p, path) || field == fieldName && isName(p)
		})
		if have[field] != value && !noted && !silent(format, field, value, have[field], want) {
			return fmt.Errorf("%s: %s became %q; left out %q", field, value, have[field], dropped)
		}
	}
	for field, value := range have {
		if _, ok := expected[field]; !ok && !silent(format, field, "", value, want) {
			return fmt.Errorf("nobody said %s: %s", field, value)
		}
	}
	return nil
}

// isName says that a path is of the name of one who speaks.
func isName(path string) bool { return strings.HasSuffix(path, "].name") }
