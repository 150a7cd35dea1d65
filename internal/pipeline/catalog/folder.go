package catalog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/financecommander/tollgate/internal/pipeline"
)

// maxFiles bounds the definitions of a folder.
const maxFiles = 500

// unsure is how long after its last change a file may change again without its
// time telling: file systems count time in steps.
const unsure = 2 * time.Second

// suffixes are those of definitions; all other files are nobody's business here.
var suffixes = []string{".yaml", ".yml", ".json"}

// look is what a folder's files are, from outside.
type look struct {
	dir   string
	at    time.Time
	names []string // sorted
	infos []fs.FileInfo
}

// lookAt reads the folder, but not its files. What a symbolic link leads to
// counts: that is how Kubernetes puts the files of a config map there.
func lookAt(dir string) (*look, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of pipelines: %w", err)
	}
	l := &look{dir: dir, at: time.Now()}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || !slices.Contains(suffixes, filepath.Ext(name)) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the folder of pipelines: %w", err)
		case info.IsDir():
			continue
		}
		l.names, l.infos = append(l.names, name), append(l.infos, info)
	}
	if len(l.names) > maxFiles {
		return nil, fmt.Errorf("the folder of pipelines %s has %d definitions; at most %d are read", dir, len(l.names), maxFiles)
	}
	return l, nil
}

// equal tells whether two looks saw the same.
func (l *look) equal(earlier *look) bool {
	if earlier == nil || !slices.Equal(l.names, earlier.names) {
		return false
	}
	return slices.EqualFunc(l.infos, earlier.infos, func(a, b fs.FileInfo) bool {
		return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime())
	})
}

// fresh tells whether a file had just changed, and may since have changed again
// without looking different.
func (l *look) fresh() bool {
	return slices.ContainsFunc(l.infos, func(info fs.FileInfo) bool { return l.at.Sub(info.ModTime()) < unsure })
}

// folder is what was read of a folder.
type folder struct {
	files []*file // that are in force
	last  *look   // at which files were read last
	err   error   // what was wrong then
	// waiting has changed, and may be half written: it is read when the next look
	// sees the same.
	waiting *look
}

// file is a definition of the folder.
type file struct {
	name   string
	digest [sha256.Size]byte
	entry  *Entry
}

// follow takes over what a look saw, and says whether anything is new. What is
// faulty changes nothing, and is told until it is mended. patient waits until what
// has changed is the same at two looks.
func (f *folder) follow(l *look, patient bool) (changed bool, err error) {
	same := l.equal(f.last)
	if same && !f.last.fresh() {
		return false, f.err
	}
	if patient && !same && !l.equal(f.waiting) {
		f.waiting = l
		return false, f.err
	}
	var files []*file
	files, f.err = l.read(f.files)
	f.last, f.waiting = l, nil
	if f.err != nil || slices.Equal(files, f.files) {
		return false, f.err
	}
	f.files = files
	return true, nil
}

// read reads the files, and tells of all that is wrong with any. Those that are as
// they were before keep their plans.
func (l *look) read(before []*file) ([]*file, error) {
	known := make(map[string]*file, len(before))
	for _, f := range before {
		known[f.name] = f
	}
	var (
		files []*file
		names = make(map[string]string)
		wrong []error
	)
	for i, name := range l.names {
		path := filepath.Join(l.dir, name)
		f, err := readFile(path, l.infos[i], known[name])
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		called := f.entry.Plan.Definition.Name
		if other, taken := names[called]; taken {
			wrong = append(wrong, fault(path, "name", fmt.Sprintf("the pipeline %q is defined in %s too", called, other)))
			continue
		}
		names[called] = name
		files = append(files, f)
	}
	return files, errors.Join(wrong...)
}

func readFile(path string, info fs.FileInfo, before *file) (*file, error) {
	if !info.Mode().IsRegular() { // opening a pipe could take for ever
		return nil, fault(path, "", "this is no regular file")
	}
	text, err := readText(path)
	if err != nil {
		return nil, fault(path, "", "this cannot be read: "+err.Error())
	}
	f := &file{name: filepath.Base(path), digest: sha256.Sum256(text)}
	if before != nil && before.digest == f.digest {
		return before, nil
	}
	if f.entry, err = parse(path, text); err != nil {
		return nil, err
	}
	f.entry.Source, f.entry.File, f.entry.UpdatedAt = FromFile, f.name, info.ModTime().UTC()
	return f, nil
}

// readText reads a file up to the first byte that is too much, which
// [pipeline.Parse] then complains of.
func readText(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return io.ReadAll(io.LimitReader(opened, pipeline.MaxText+1))
}

func fault(file, path, message string) *pipeline.Faults {
	return &pipeline.Faults{File: file, List: []pipeline.Fault{{Path: path, Message: message}}}
}
