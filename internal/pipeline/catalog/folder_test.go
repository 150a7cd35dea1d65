package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// write puts a file into a folder, in one step.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	half := filepath.Join(dir, ".half")
	require.NoError(t, os.WriteFile(half, []byte(text), 0o600))
	require.NoError(t, os.Rename(half, filepath.Join(dir, name)))
}

// age makes a file look as if nobody had touched it for an hour.
func age(t *testing.T, dir, name string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, dir, "one.yaml", definition("one", "1"))
	write(t, dir, "two.yml", definition("two", "2"))
	write(t, dir, "three.json", `{"name":"three","category":"A","steps":[{"name":"a","specialist":"s"}]}`)
	write(t, elsewhere, "any", definition("four", "4"))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "any"), filepath.Join(dir, "four.yaml")))
	// What is none of ours.
	write(t, dir, "notes.txt", "{")
	write(t, dir, ".hidden.yaml", "{")
	write(t, dir, "one.yaml~", "{")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o700))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "..data")))

	c, _ := newCatalog(t, Options{Dir: dir})
	require.Equal(t, []string{"three", "four", "one", "two"}, names(c.List()), "by category and name")
	one, ok := c.Get("one")
	require.True(t, ok)
	require.Equal(t, FromFile, one.Source)
	require.Equal(t, "one.yaml", one.File)
	require.Zero(t, one.Version)
	require.WithinDuration(t, time.Now(), one.UpdatedAt, time.Hour)
	require.JSONEq(t, `{"name":"one","steps":[{"name":"a","specialist":"reader","prompt":"1"}]}`, string(one.Definition))
	_, ok = c.Get("five")
	require.False(t, ok)

	list := c.List()
	list[0] = nil
	require.NotNil(t, c.List()[0], "a caller's slice is its own")
}

// Whoever starts the gateway with three faulty files learns of all three.
func TestFaultyFilesAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", definition("good", "p"))
	write(t, dir, "b.yaml", "name: b\nsteps:\n  - {name: x, specialist: s, depends_on: [nobody]}\n")
	write(t, dir, "c.yaml", "name: c\nsteps: [\n")
	write(t, dir, "d.json", definition("good", "again"))
	write(t, dir, "e.yaml", strings.Repeat("#", pipeline.MaxText+1))
	long := "name: long\ndescription: &a " + strings.Repeat("x", 400) + "\nsteps:\n  - name: a\n    specialist: s\n    format: json\n" +
		"    schema: {type: object, examples: [" + strings.Repeat("*a,", 3000) + "*a]}\n"
	write(t, dir, "long.yaml", long)
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, ".f.yaml")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "f.yaml"), 0o600))
	_, err := New(Options{Dir: dir})
	require.Error(t, err)
	for _, want := range []string{
		filepath.Join(dir, "b.yaml") + ":3:", "steps[0].depends_on[0]: ",
		filepath.Join(dir, "c.yaml") + ":",
		filepath.Join(dir, "d.json") + `: name: the pipeline "good" is defined in a.yaml too`,
		filepath.Join(dir, "e.yaml") + ": the definition has more than",
		filepath.Join(dir, "f.yaml") + ": this is no regular file",
		filepath.Join(dir, "long.yaml") + ":",
	} {
		require.Contains(t, err.Error(), want)
	}
	var faults *pipeline.Faults
	require.ErrorAs(t, err, &faults)

	_, err = New(Options{Dir: filepath.Join(dir, "nowhere")})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "g.yaml")))
	_, err = New(Options{Dir: dir})
	require.ErrorIs(t, err, os.ErrNotExist)

	many := t.TempDir()
	for n := range maxFiles + 1 {
		write(t, many, string(rune('a'+n%26))+strings.Repeat("x", n/26)+".yaml", "")
	}
	_, err = New(Options{Dir: many})
	require.ErrorContains(t, err, "at most 500")
}

// TestFollowingTheFolder lives through good changes and bad ones.
func TestFollowingTheFolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "one.yaml", definition("one", "1"))
		write(t, dir, "two.yaml", definition("two", "2"))
		c, log := newCatalog(t, Options{Dir: dir})
		require.NoError(t, c.Start(t.Context()))
		require.Error(t, c.Start(t.Context()), "twice")
		two, _ := c.Get("two")

		write(t, dir, "one.yaml", definition("one", "changed"))
		write(t, dir, "three.yaml", definition("three", "3"))
		time.Sleep(2 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, "changed", prompt(t, c, "one"))
		require.Equal(t, []string{"one", "three", "two"}, names(c.List()))
		same, _ := c.Get("two")
		require.Same(t, two, same, "what has not changed keeps its plan")

		// A faulty file holds up the others, too: the folder is in force as a whole.
		write(t, dir, "one.yaml", "name: one\nsteps:\n  - {name: a}\n")
		require.NoError(t, os.Remove(filepath.Join(dir, "three.yaml")))
		time.Sleep(20 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, "changed", prompt(t, c, "one"))
		require.Equal(t, []string{"one", "three", "two"}, names(c.List()))
		require.Equal(t, 1, strings.Count(log.String(), "cannot be used as it is now"), "said once: %s", log)
		require.Contains(t, log.String(), "one.yaml:3:")
		require.Error(t, c.Refresh(t.Context()))

		write(t, dir, "one.yaml", "name: one\nsteps: none\n")
		time.Sleep(20 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, 2, strings.Count(log.String(), "cannot be used as it is now"), "another fault is told: %s", log)

		write(t, dir, "one.yaml", definition("one", "mended"))
		time.Sleep(2 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, "mended", prompt(t, c, "one"))
		require.Equal(t, []string{"one", "two"}, names(c.List()))
		require.Equal(t, 1, strings.Count(log.String(), "can be used again"))

		require.NoError(t, os.Rename(dir, dir+".away"))
		time.Sleep(20 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, []string{"one", "two"}, names(c.List()), "a folder that is away is not an empty one")
		require.Equal(t, 3, strings.Count(log.String(), "cannot be used as it is now"))
		require.NoError(t, os.Rename(dir+".away", dir))

		c.Stop()
		c.Stop()
		write(t, dir, "one.yaml", definition("one", "late"))
		time.Sleep(20 * DefaultInterval)
		synctest.Wait()
		require.Equal(t, "mended", prompt(t, c, "one"), "a stopped catalog still answers")
	})
}

// A file that is being written is read once nothing more comes.
func TestHalfWrittenFilesAreNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, log := newCatalog(t, Options{Dir: dir})
		require.NoError(t, c.Start(t.Context()))
		defer c.Stop()
		file, err := os.Create(filepath.Join(dir, "one.yaml"))
		require.NoError(t, err)
		defer file.Close()
		for _, part := range []string{"name: one\nsteps:\n  - name: a\n", "    specialist: reader\n", "    prompt: whole\n"} {
			_, err := file.WriteString(part)
			require.NoError(t, err)
			time.Sleep(DefaultInterval)
			synctest.Wait()
			require.Empty(t, c.List())
		}
		time.Sleep(DefaultInterval)
		synctest.Wait()
		require.Equal(t, "whole", prompt(t, c, "one"))
		require.Empty(t, log.String())
	})
}

// Kubernetes swaps the folder that the links lead to; names, sizes and even the
// times of the files may be those of before.
func TestConfigMapsAreFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for version, prompt := range map[string]string{"..v1": "one", "..v2": "two"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version), "p.yaml", definition("p", prompt))
		age(t, filepath.Join(dir, version), "p.yaml")
	}
	require.NoError(t, os.Symlink("..v1", filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink("..data/p.yaml", filepath.Join(dir, "p.yaml")))
	c, _ := newCatalog(t, Options{Dir: dir})
	require.Equal(t, "one", prompt(t, c, "p"))

	require.NoError(t, os.Symlink("..v2", filepath.Join(dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	require.NoError(t, c.Refresh(t.Context()))
	require.Equal(t, "two", prompt(t, c, "p"))
}

// A file may change twice within one step of the file system's clock.
func TestQuickChangesAreSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "p.yaml")
	require.NoError(t, os.WriteFile(path, []byte(definition("p", "one")), 0o600))
	c, _ := newCatalog(t, Options{Dir: dir})
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(definition("p", "two")), 0o600))
	require.NoError(t, os.Chtimes(path, before.ModTime(), before.ModTime()))
	require.NoError(t, c.Refresh(t.Context()))
	require.Equal(t, "two", prompt(t, c, "p"))
}

// What has long been as it is costs a look at the names and times.
func TestOldFilesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "p.yaml", definition("p", "one"))
	age(t, dir, "p.yaml")
	c, _ := newCatalog(t, Options{Dir: dir})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(definition("p", "two")), 0o600))
	age(t, dir, "p.yaml")
	info, err := os.Stat(filepath.Join(dir, "p.yaml"))
	require.NoError(t, err)
	c.folder.last.infos[0] = info // as if the times had been the same
	require.NoError(t, c.Refresh(t.Context()))
	require.Equal(t, "one", prompt(t, c, "p"))
}
