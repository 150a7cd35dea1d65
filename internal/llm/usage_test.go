package llm

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// Plus forgets no bucket, also none that will be added.
func TestPlus(t *testing.T) {
	var u, v, want Usage
	for i := range reflect.TypeFor[Usage]().NumField() {
		reflect.ValueOf(&u).Elem().Field(i).SetInt(int64(i + 1))
		reflect.ValueOf(&v).Elem().Field(i).SetInt(int64(100 * i))
		reflect.ValueOf(&want).Elem().Field(i).SetInt(int64(i + 1 + 100*i))
	}
	require.Equal(t, want, u.Plus(v))
}
