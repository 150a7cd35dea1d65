// Package docs holds the documentation. Its tests run every command and load
// every configuration that is shown, and compare the tables with the code.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pages are the documents under test, relative to this folder.
var pages = []string{"../README.md", "../CHANGELOG.md", "configuration.md", "operations.md", "api.md", "portal.md", "sign-in.md", "pipelines.md", "architecture.md"}

// block is a fenced piece of a page. A comment on the line before it tells the
// tests what it is:
//
//	<!-- test: output -->         what the sh block before prints; … stands for anything, numbers and ids for others
//	<!-- test: output in any order --> the same without the lines that Caddy logs
//	<!-- test: inside llm -->     lines of a Caddyfile's llm or jwt block, or of a site
//	<!-- test: config -->         a whole JSON configuration
//	<!-- test: file prices.json   a file, also a pipeline's, that later blocks of the page use
//	<!-- test: rules -->          Prometheus' rules
//	<!-- test: scope -->          what the examples of templates and expressions see (pipelines_test.go)
//	<!-- test: templates -->      such examples: template → text
//	<!-- test: expressions -->    such examples: expression → value
//	<!-- test: postgres -->       SQL for a migrated database
//	<!-- test: skip (why) -->     cannot be run
type block struct {
	page     string
	line     int
	language string
	note     string
	route    string // "GET /path" of the section that it stands in; "" for others
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", filepath.Base(b.page), b.line) }

var noteComment = regexp.MustCompile(`^<!-- test: (.+) -->$`)

// routeHeading is what a route's section begins with.
var routeHeading = regexp.MustCompile("^### `([A-Z]+ [^`]+)`$")

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	return string(text)
}

// blocksOf takes the fenced blocks out of a page.
func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	var open *block
	before, route := "", ""
	for i, line := range strings.Split(read(t, page), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{page: page, line: i + 1, language: language, route: route}
			if note := noteComment.FindStringSubmatch(before); note != nil {
				open.note = note[1]
			}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "#"):
			route = ""
			if heading := routeHeading.FindStringSubmatch(line); heading != nil {
				route = heading[1]
			}
		}
		before = line
	}
	require.Nil(t, open, "%s: a fence is not closed", page)
	return blocks
}

// prose is a page without its fenced blocks.
func prose(t *testing.T, page string) string {
	t.Helper()
	var kept []string
	fenced := false
	for line := range strings.SplitSeq(read(t, page), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		} else if !fenced {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// section is what stands under a heading, up to the next one.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(prose(t, page), "\n"+heading+"\n")
	require.True(t, found, "%s has no heading %q", page, heading)
	if end := strings.Index(rest, "\n#"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// table reads the rows of a section's tables, cell by cell, without the header.
func table(t *testing.T, page, heading string) (rows [][]string) {
	t.Helper()
	for line := range strings.SplitSeq(section(t, page, heading), "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.Trim(cells[0], "-") == "" && cells[0] != "" { // below the header
			rows = rows[:len(rows)-1]
			continue
		}
		rows = append(rows, cells)
	}
	require.NotEmpty(t, rows, "%s: no table under %q", page, heading)
	return rows
}

var code = regexp.MustCompile("`([^`]+)`")

// names are the texts in code style in a cell.
func names(cell string) (found []string) {
	for _, match := range code.FindAllStringSubmatch(cell, -1) {
		found = append(found, match[1])
	}
	return found
}

// firstColumn are the names in the first cells.
func firstColumn(rows [][]string) (found []string) {
	for _, row := range rows {
		found = append(found, names(row[0])...)
	}
	return found
}
