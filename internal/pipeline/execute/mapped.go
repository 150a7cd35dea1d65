package execute

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// items does the step for each item of its list, several at a time. Of items that
// failed and did not matter the note says how many there are.
func (w *worker) items(ctx context.Context) (p product, note string, f *failure) {
	list, err := w.step.MapOver.List(ctx, &w.scope)
	if err != nil {
		return p, "", broken(ctx, "list of items", err)
	}
	if most := w.step.Map.MaxItems; len(list) > most {
		return p, "", failuref("its list has %d items, of which it may do %d", len(list), most)
	}
	a := &array{parts: make([]*string, len(list)), say: w.task(w.scope, false).say}
	a.add("[")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(w.step.Map.Parallel, 1))
	for i, item := range list {
		group.Go(func() error {
			if f := w.item(ctx, a, i, item); f != nil { // or it were an error that is not nil
				return f
			}
			return nil
		})
	}
	if f, ok := errors.AsType[*failure](group.Wait()); ok {
		return p, "", f
	}
	return product{text: a.end(), json: true}, a.note(), nil
}

// item does the step for one item, and fails if that ends the step.
func (w *worker) item(ctx context.Context, a *array, i int, item any) *failure {
	if f := whyEnded(ctx); f != nil {
		return f
	}
	scope := w.scope
	scope.Item, scope.Index = item, i
	p, f := w.doItem(ctx, w.task(scope, true))
	switch policy := w.step.Map.OnFailure; {
	case f == nil:
		return a.put(i, p.part())
	case f.code != "" || policy != pipeline.Skip && policy != pipeline.Empty:
		return ofItem(i, f)
	case policy == pipeline.Empty:
		a.failed(f)
		return a.put(i, "null")
	default:
		a.failed(f)
		return a.put(i, "")
	}
}

// ofItem is an item's failure as that of its step.
func ofItem(i int, f *failure) *failure {
	if f.code != "" { // it is not the item's doing
		return f
	}
	return failuref("item %d of its list: %s", i+1, f.message)
}

func (w *worker) doItem(ctx context.Context, t *task) (p product, f *failure) {
	defer w.survive(&f)
	return t.do(ctx)
}

// array is the output of a map step. It is put out as it grows, in the items'
// order.
type array struct {
	say func(string)

	mu     sync.Mutex // guards all below
	parts  []*string  // by item; nil: not done yet
	next   int        // the first item whose part is not out yet
	size   int        // of all parts that are there
	text   strings.Builder
	bad    int
	reason string
}

// put takes an item's part; an empty one leaves it out.
func (a *array) put(i int, part string) *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size += len(part) + 1; a.size > maxOutput {
		return failuref("its output is longer than %d MiB", maxOutput>>20)
	}
	a.parts[i] = &part
	var ready strings.Builder
	for ; a.next < len(a.parts) && a.parts[a.next] != nil; a.next++ {
		part := *a.parts[a.next]
		if part != "" && a.text.Len()+ready.Len() > 1 {
			ready.WriteByte(',')
		}
		ready.WriteString(part)
	}
	a.add(ready.String())
	return nil
}

// end gives the whole array once all items are there.
func (a *array) end() string {
	a.add("]")
	return a.text.String()
}

func (a *array) add(piece string) {
	a.text.WriteString(piece)
	a.say(piece)
}

func (a *array) failed(f *failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bad++; a.bad == 1 {
		a.reason = f.message
	}
}

func (a *array) note() string {
	if a.bad == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d items failed; of one it is known: %s", a.bad, len(a.parts), a.reason)
}
