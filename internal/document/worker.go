package document

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// workerName is what the reading process is called, and how it knows that it is
// one: by its own name, which no caller and no setting can give a process.
const workerName = "tollgate-document-text"

// workerEnv is all that the process has of an environment.
var workerEnv = []string{"GOMAXPROCS=2", "GOTRACEBACK=none"}

// init is the whole life of a reading process: it ends here, before anything
// else of the program begins. That a process is this program again, and not
// another file, means that every build has it, also those of tests and of people
// who put Caddy together with modules of their own.
func init() {
	if len(os.Args) != 2 || os.Args[0] != workerName {
		return
	}
	may, err := time.ParseDuration(os.Args[1])
	if err != nil {
		os.Exit(exitCode(err))
	}
	debug.SetMemoryLimit(maxMemory / 2)
	go exitOver(maxMemory, may)
	os.Exit(work(os.Stdin, os.Stdout))
}

// work reads a file from in and writes its text; it gives the exit code.
func work(in io.Reader, out io.Writer) int {
	file, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err == nil && len(file) > MaxSize {
		err = ErrTooLarge
	}
	var text string
	if err == nil {
		text, err = textOf(file)
	}
	if err == nil {
		_, err = io.WriteString(out, text)
	}
	if err == nil {
		return 0
	}
	return exitCode(err)
}

func exitCode(err error) int {
	for code, known := range exits {
		if errors.Is(err, known) {
			return code
		}
	}
	return exitCode(ErrUnreadable)
}

// exitOver ends the process when it has more memory, or has worked longer, than it
// may. Go asks the system for memory piece by piece and touches it when it is
// written, so this is seen long before it hurts.
func exitOver(memory uint64, work time.Duration) {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(2 * time.Millisecond) {
		metrics.Read(sample)
		if sample[0].Value.Uint64()-sample[1].Value.Uint64() > memory || cpuTime() > work {
			os.Exit(exitCode(ErrTooHard))
		}
	}
}

// guarded runs the library, whose way to say that a file is malformed is often a
// panic.
func guarded(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return read()
}
