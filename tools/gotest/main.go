// Command gotest runs `go test` with the given arguments and prints one line per package, the output of what failed,
// which packages were slow, and which tests were skipped and why: a skipped test promises nothing, so nobody should have to
// look for it.
//
// When the environment has CI=true, a test skipped because a program is missing is a failure: there the tools are expected.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(2)
	}
	report := newReport(os.Stdout)
	report.read(stdout)
	failed := cmd.Wait() != nil
	missing := report.summary()
	if failed || missing && os.Getenv("CI") == "true" {
		os.Exit(1)
	}
}

// event is one line of `go test -json`, as documented by `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// report collects the output of each test until its result is known.
type report struct {
	w       io.Writer
	output  map[string]*strings.Builder // by package and test
	skipped []string                    // "package test: reason"
	slow    []string                    // packages that took longer than slowPackage
	passed  int
	failed  []string
}

func newReport(w io.Writer) *report {
	return &report{w: w, output: make(map[string]*strings.Builder)}
}

// read consumes the events of one run and prints packages and failures as they come.
func (r *report) read(events io.Reader) {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			r.event(e)
		} else {
			r.w.Write(line)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) event(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		if r.output[key] == nil {
			r.output[key] = new(strings.Builder)
		}
		r.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		r.result(e, r.take(key))
	}
}

// result prints a package's line or a failed test's output, and counts.
func (r *report) result(e event, output string) {
	switch {
	case e.Test == "" && e.Action == "skip": // a package without tests
	case e.Test == "" && e.Action == "fail":
		fmt.Fprint(r.w, output)
		r.failed = append(r.failed, e.Package)
	case e.Test == "":
		fmt.Fprint(r.w, lastLine(output))
		if e.Elapsed > slowPackage.Seconds() {
			r.slow = append(r.slow, fmt.Sprintf("%s %.0f s", e.Package, e.Elapsed))
		}
	case e.Action == "pass":
		r.passed++
	case e.Action == "fail":
		fmt.Fprint(r.w, output)
		r.failed = append(r.failed, e.Package+" "+e.Test)
	case e.Action == "skip":
		r.skipped = append(r.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, skipReason(output)))
	}
}

func (r *report) take(key string) string {
	b := r.output[key]
	if b == nil {
		return ""
	}
	delete(r.output, key)
	return b.String()
}

// slowPackage is the time a package's tests should stay under, so that people keep running them.
const slowPackage = 10 * time.Second

// missingTool is how the tests of this repository say that they lack a program.
var missingTool = regexp.MustCompile(`(?i)not installed|not found|missing|absent|\binstall\b|no such file`)

// summary prints the totals and reports whether a test was skipped for want of a tool.
func (r *report) summary() (missing bool) {
	fmt.Fprintf(r.w, "\n%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	for _, name := range r.failed {
		fmt.Fprintln(r.w, "FAILED ", name)
	}
	for _, name := range r.slow {
		fmt.Fprintln(r.w, "slow   ", name)
	}
	for _, skip := range r.skipped {
		fmt.Fprintln(r.w, "skipped", skip)
		missing = missing || missingTool.MatchString(skip)
	}
	if missing {
		fmt.Fprintln(r.w, "Some tests were skipped for want of a tool; tools/testdeps.sh says how to get it.")
	}
	return missing
}

// skipReason finds what t.Skip was given: the last indented line before the verdict.
func skipReason(output string) string {
	reason := "no reason given"
	for line := range strings.Lines(output) {
		text := strings.TrimSpace(line)
		if text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ") {
			reason = text
		}
	}
	return reason
}

func lastLine(output string) string {
	lines := strings.SplitAfter(strings.TrimRight(output, "\n"), "\n")
	return lines[len(lines)-1] + "\n"
}
