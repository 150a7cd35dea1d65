//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is one line of the table.
type row struct {
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Caddy    float64 `json:"caddy"`
	Tollgate float64 `json:"tollgate"`
	Ratio    float64 `json:"ratio,omitempty"`
	Bar      string  `json:"bar"`
	OK       bool    `json:"ok"`
}

// A report is what bench/results.json holds.
type report struct {
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	Rounds  int       `json:"rounds"`
	Rows    []row     `json:"rows"`
	Results []*result `json:"results"`
}

// rowsOf turns a scenario's samples into its lines of the table, by medians over the rounds.
func rowsOf(s scenario, res *result) []row {
	median := func(subject string, field func(sample) float64) float64 {
		values := make([]float64, 0, len(res.Samples[subject]))
		for _, one := range res.Samples[subject] {
			values = append(values, field(one))
		}
		return medianOf(values)
	}
	if s.measure == addedLatency {
		// What a gateway adds is its percentile less that of the same calls made to the mock directly.
		line := func(name string, bar time.Duration, field func(sample) float64) row {
			direct := median("direct", field)
			r := row{
				Metric: s.title + ", " + name, Unit: "ms", Caddy: median("caddy", field) - direct,
				Tollgate: median("tollgate", field) - direct, Bar: fmt.Sprintf("%g ms", bar.Seconds()*1000),
			}
			r.OK = r.Tollgate <= bar.Seconds()*1000
			if r.Caddy > 0 { // below the noise, a ratio says nothing
				r.Ratio = r.Tollgate / r.Caddy
			}
			return r
		}
		return []row{
			line("p50", barP50, func(s sample) float64 { return s.P50 }),
			line("p99", barP99, func(s sample) float64 { return s.P99 }),
		}
	}
	cpu := row{Metric: s.title, Unit: "µs", Bar: fmt.Sprintf("%.1f ×", s.bar)}
	cpu.Caddy = median("caddy", func(s sample) float64 { return s.CPU })
	cpu.Tollgate = median("tollgate", func(s sample) float64 { return s.CPU })
	cpu.Ratio = cpu.Tollgate / cpu.Caddy
	cpu.OK = cpu.Ratio <= s.bar
	if s.measure != cpuTimeAndMemory {
		return []row{cpu}
	}
	peak := row{Metric: fmt.Sprintf("memory, %d paced streams: peak RSS", s.load.connections), Unit: "MiB", Bar: fmt.Sprintf("%d MiB", barMemory>>20)}
	peak.Caddy, peak.Tollgate = float64(res.Memory["caddy"].Peak)/(1<<20), float64(res.Memory["tollgate"].Peak)/(1<<20)
	peak.Ratio, peak.OK = peak.Tollgate/peak.Caddy, res.Memory["tollgate"].Peak <= barMemory
	return []row{cpu, peak}
}

func medianOf(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// table renders the rows as Markdown, which also reads well in a terminal.
func table(rows []row) string {
	cells := [][]string{{"", "Caddy", "Tollgate", "ratio", "bar", "ok"}}
	for _, r := range rows {
		ok := "yes"
		if !r.OK {
			ok = "**no**"
		}
		digits := 1
		if r.Unit == "ms" || r.Tollgate < 10 {
			digits = 2
		}
		value := func(v float64) string { return fmt.Sprintf("%.*f %s", digits, v, r.Unit) }
		ratio := "–"
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f ×", r.Ratio)
		}
		cells = append(cells, []string{r.Metric, value(r.Caddy), value(r.Tollgate), ratio, r.Bar, ok})
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for i, line := range cells {
		for j, cell := range line {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", widths[j]-len([]rune(cell))))
		}
		b.WriteString("|\n")
		if i == 0 {
			for j, width := range widths {
				dashes := strings.Repeat("-", width)
				if j > 0 {
					dashes = dashes[1:] + ":"
				}
				fmt.Fprintf(&b, "| %s ", dashes)
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func newReport(rounds int) *report {
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), Commit: strings.TrimSpace(string(commit)), Machine: machine(), Rounds: rounds,
	}
}

// machine names processor, kernel and Go version.
func machine() string {
	model := "unknown processor"
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", model, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version())
}

func (r *report) write(path string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

const (
	markerStart = "<!-- results: written by make bench -->"
	markerEnd   = "<!-- /results -->"
)

// render puts the table between the markers of a Markdown file.
func (r *report) render(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content, err = replaceBetween(content, fmt.Sprintf("\n%s, commit %s, %d rounds, %s.\n\n%s",
		r.Date.Format("2006-01-02 15:04 UTC"), r.Commit, r.Rounds, r.Machine, table(r.Rows)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, content, 0o644)
}

func replaceBetween(content []byte, text string) ([]byte, error) {
	before, rest, ok := bytes.Cut(content, []byte(markerStart))
	_, after, ok2 := bytes.Cut(rest, []byte(markerEnd))
	if !ok || !ok2 {
		return nil, errors.New("no results markers")
	}
	return slices.Concat(before, []byte(markerStart), []byte(text), []byte(markerEnd), after), nil
}
