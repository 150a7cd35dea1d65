// Package document reads the text in documents, for models that cannot be sent
// the documents themselves.
//
// A PDF file comes from a caller, and the library that reads it takes what the
// file says at its word: how many objects there are, how wide a column is, where
// the pages before stand. So it runs in a process of its own, which has none of
// this one's secrets and is killed when it takes too long or too much memory: a
// hostile file costs its caller an error and the gateway nothing.
//
// That process is this very program, started again under another name; see
// worker.go.
package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// The bounds of one document.
const (
	// MaxSize is as much of a file as is read, in bytes.
	MaxSize = 10 << 20
	// MaxPages is as many pages as are read.
	MaxPages = 500
	// MaxText is as much text as a document may have, in bytes: some 250,000
	// tokens, more than most models take.
	MaxText = 1 << 20
	// maxWork is how much of a processor reading may take; an ordinary file takes a
	// tenth of a second. maxTime is the same by the clock, which says less on a busy
	// machine, and maxWait is as long as a file waits for others to be read.
	maxWork = 5 * time.Second
	maxTime = 30 * time.Second
	maxWait = 10 * time.Second
	// maxMemory is how much of it the reading process may have.
	maxMemory = 256 << 20
)

// Why there is no text. They are written for whoever sent the document.
var (
	ErrEncrypted    = errors.New("is protected by a password")
	ErrNoText       = errors.New("has no text in it, as a scan has none")
	ErrTooLarge     = fmt.Errorf("is larger than %d MiB", MaxSize>>20)
	ErrTooManyPages = fmt.Errorf("has more than %d pages", MaxPages)
	ErrTooMuchText  = fmt.Errorf("has more than %d KiB of text", MaxText>>10)
	ErrTooHard      = errors.New("takes too much time or memory to read")
	ErrUnreadable   = errors.New("cannot be read: it is damaged, or of a kind that is not known")
	// ErrUnavailable says nothing of the document: no process could be started,
	// or too many are being read.
	ErrUnavailable = errors.New("cannot be read here at the moment")
)

// Reasons are those of the document's own.
var Reasons = []error{ErrEncrypted, ErrNoText, ErrTooLarge, ErrTooManyPages, ErrTooMuchText, ErrTooHard, ErrUnreadable}

// exits are the exit codes by which the worker says why there is no text. Zero
// is none; 1 and 2 are those of a Go program that fails or panics.
var exits = map[int]error{
	10: ErrEncrypted, 11: ErrNoText, 12: ErrTooLarge, 13: ErrTooManyPages,
	14: ErrTooMuchText, 15: ErrTooHard, 16: ErrUnreadable,
}

// slots bound the processes that read at the same time; they are the machine's,
// so all of this process share them.
var slots = make(chan struct{}, max(2, runtime.GOMAXPROCS(0)/2))

// Text gives the text of a PDF file, page after page with a blank line between.
// Its errors are those above, or ctx's.
func Text(ctx context.Context, file io.Reader) (string, error) {
	return textWithin(ctx, file, maxWork)
}

// textWithin is Text that may take so much of a processor.
func textWithin(ctx context.Context, file io.Reader, work time.Duration) (string, error) {
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	case <-patience.C:
		return "", ErrUnavailable
	}
	bounded, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()

	var text limitedBuffer
	worker := exec.CommandContext(bounded, program()) //nolint:gosec // our own program
	worker.Args = []string{workerName, work.String()}
	worker.Env = workerEnv // and nothing of ours
	worker.Stdin = file
	worker.Stdout = &text
	worker.WaitDelay = time.Second
	err := worker.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil && text.full:
		return "", ErrTooMuchText
	case err == nil:
		return text.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case bounded.Err() != nil:
		return "", ErrTooHard
	case !exited:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if why, ok := exits[exit.ExitCode()]; ok {
		return "", why
	}
	return "", fmt.Errorf("%w: the reader ended with %w", ErrUnreadable, exit)
}

// program is this program. On Linux it is the running one, even where another
// has taken its place on disk.
func program() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, _ := os.Executable()
	return path
}

// limitedBuffer takes a text in to its bound and notes that there was more.
type limitedBuffer struct {
	bytes.Buffer
	full bool
}

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxText {
		b.full = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
