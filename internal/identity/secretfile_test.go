package identity

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/secret"
)

func TestLoadOrCreateSecret(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "tollgate")
	path := filepath.Join(dir, "jwt-secret")
	key, created, err := LoadOrCreateSecret(path)
	require.NoError(t, err)
	require.True(t, created)
	require.GreaterOrEqual(t, len(key.Reveal()), 64)
	require.EqualValues(t, 0o600, must(os.Stat(path)).Mode().Perm())
	require.EqualValues(t, 0o700, must(os.Stat(dir)).Mode().Perm())
	require.Len(t, must(os.ReadDir(dir)), 1, "nothing is left beside it")

	again, created, err := LoadOrCreateSecret(path)
	require.NoError(t, err)
	require.False(t, created)
	require.True(t, key.Equal(again))
}

func TestLoadOrCreateSecretAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	const processes = 16
	keys, made := make([]secret.Secret, processes), make([]bool, processes)
	var running sync.WaitGroup
	for i := range processes {
		running.Go(func() {
			var err error
			keys[i], made[i], err = LoadOrCreateSecret(path)
			require.NoError(t, err)
		})
	}
	running.Wait()
	creators := 0
	for i := range keys {
		require.True(t, keys[0].Equal(keys[i]))
		if made[i] {
			creators++
		}
	}
	require.Equal(t, 1, creators)
	require.ErrorIs(t, createSecret(path), fs.ErrExist, "who comes second replaces nothing")
}

func TestLoadOrCreateSecretRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"group can read":  {testSecret, 0o640, "chmod 600"},
		"world can read":  {testSecret, 0o604, "chmod 600"},
		"world can write": {testSecret, 0o602, "chmod 600"},
		"short":           {testSecret[:31], 0o600, "openssl rand -base64 48"},
		"short, padded":   {testSecret[:31] + "\n\n\n", 0o600, "openssl rand -base64 48"},
		"empty":           {"", 0o600, "openssl rand -base64 48"},
		"a whole disk":    {strings.Repeat("x", 100<<10), 0o600, "not a secret"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
		require.NoError(t, os.Chmod(path, c.mode))
		_, created, err := LoadOrCreateSecret(path)
		require.ErrorContains(t, err, c.want, name)
		require.False(t, created)
		if len(c.content) > 8 {
			require.NotContains(t, err.Error(), c.content[:8])
		}
	}
	_, _, err := LoadOrCreateSecret(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, err = LoadOrCreateSecret(filepath.Join(file, "secret"))
	require.Error(t, err)
}
