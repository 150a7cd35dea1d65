// Command build makes Tollgate as an xcaddy user would get it, from the manifest xcaddy.json.
//
// When xcaddy is in PATH it runs `xcaddy build …`. Otherwise it takes the same steps: a temporary module whose main package
// is Caddy's with the plugins imported, and `go build` in it. The temporary module starts from the plugin's own go.mod and
// go.sum, so that nothing but what was tested gets in, and no newer version is looked up.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// manifest is xcaddy.json. The first three fields have the names of xcaddy's own Builder struct
// (https://pkg.go.dev/github.com/caddyserver/xcaddy#Builder); the others are what its command line or environment sets.
type manifest struct {
	CaddyVersion string        `json:"caddy_version"`
	Plugins      []plugin      `json:"plugins"`
	Replacements []replacement `json:"replacements,omitempty"`
	Output       string        `json:"output"`
	Tags         string        `json:"tags,omitempty"`
	LDFlags      string        `json:"ldflags,omitempty"` // {version} stands for the version of this checkout
}

type plugin struct {
	ModulePath string `json:"module_path"`
	Version    string `json:"version,omitempty"`
}

// A replacement makes one module be read from a folder (relative to the manifest) or from another module.
type replacement struct {
	Old string `json:"old"`
	New string `json:"new"`
}

const caddyModule = "github.com/caddyserver/caddy/v2"

func main() {
	path := flag.String("manifest", "xcaddy.json", "the manifest to build")
	output := flag.String("output", "", "where to write the binary (default: the manifest's output)")
	flag.Parse()
	if err := run(*path, *output); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(path, output string) error {
	m, err := readManifest(path)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	m.Output = cmp.Or(output, m.Output)
	if m.Output, err = filepath.Abs(m.Output); err != nil {
		return err
	}
	m.LDFlags = strings.ReplaceAll(m.LDFlags, "{version}", version(dir))
	if _, err := exec.LookPath("xcaddy"); err == nil {
		return command(dir, m.xcaddyEnv(), m.xcaddyArgs()...)
	}
	return build(m, dir)
}

func readManifest(path string) (*manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := new(manifest)
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.CaddyVersion == "" || m.Output == "" || len(m.Plugins) == 0 {
		return nil, fmt.Errorf("%s: caddy_version, plugins and output are required", path)
	}
	return m, nil
}

// xcaddyArgs is the command line that tells xcaddy what the manifest says.
func (m *manifest) xcaddyArgs() []string {
	args := []string{"xcaddy", "build", m.CaddyVersion, "--output", m.Output}
	for _, p := range m.Plugins {
		args = append(args, "--with", p.at())
	}
	for _, r := range m.Replacements {
		args = append(args, "--replace", r.Old+"="+r.New)
	}
	return args
}

// xcaddyEnv holds what xcaddy takes from the environment only.
func (m *manifest) xcaddyEnv() []string {
	flags := fmt.Sprintf("-trimpath -tags '%s' -ldflags '%s'", m.Tags, m.LDFlags)
	return []string{"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "XCADDY_GO_BUILD_FLAGS=" + flags}
}

func (p plugin) at() string {
	if p.Version == "" {
		return p.ModulePath
	}
	return p.ModulePath + "@" + p.Version
}

// replaces reports whether the plugin's code comes from this replacement.
func (r replacement) replaces(p plugin) bool {
	return p.ModulePath == r.Old || strings.HasPrefix(p.ModulePath, r.Old+"/")
}

var mainSource = template.Must(template.New("main.go").Parse(`package main

import (
	caddycmd "{{.Caddy}}/cmd"

	_ "{{.Caddy}}/modules/standard"
{{- range .Plugins}}
	_ "{{.ModulePath}}"
{{- end}}
)

func main() {
	caddycmd.Main()
}
`))

// build takes xcaddy's steps in a temporary module. dir is the manifest's folder, where go.mod and go.sum are read.
func build(m *manifest, dir string) error {
	work, err := os.MkdirTemp("", "tollgate-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := writeModule(m, dir, work); err != nil {
		return err
	}
	env := []string{"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off"}
	for _, step := range m.steps(dir) {
		if err := command(work, env, step...); err != nil {
			return err
		}
	}
	return nil
}

// writeModule puts main.go and copies of go.mod and go.sum into the temporary module.
func writeModule(m *manifest, dir, work string) error {
	f, err := os.Create(filepath.Join(work, "main.go"))
	if err != nil {
		return err
	}
	err = mainSource.Execute(f, map[string]any{"Caddy": caddyModule, "Plugins": m.Plugins})
	if err := cmp.Or(err, f.Close()); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// steps lists the commands that turn the copied go.mod into the temporary module's and build it.
func (m *manifest) steps(dir string) [][]string {
	edit := []string{"go", "mod", "edit", "-module=caddy"}
	for _, r := range m.Replacements {
		if strings.HasPrefix(r.New, ".") {
			r.New = filepath.Join(dir, r.New)
		}
		edit = append(edit, "-require="+r.Old+"@v0.0.0", "-replace="+r.Old+"="+r.New)
	}
	get := []string{"go", "get", caddyModule + "@" + m.CaddyVersion}
	for _, p := range m.Plugins {
		if !m.replaced(p) {
			get = append(get, p.at())
		}
	}
	return [][]string{
		edit,
		get,
		{"go", "build", "-trimpath", "-tags=" + m.Tags, "-ldflags=" + m.LDFlags, "-o", m.Output, "."},
	}
}

func (m *manifest) replaced(p plugin) bool {
	for _, r := range m.Replacements {
		if r.replaces(p) {
			return true
		}
	}
	return false
}

// version names this checkout, or is "dev" where git cannot.
func version(dir string) string {
	out, err := exec.Command("git", "-C", dir, "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "dev"
	}
	return strings.TrimSpace(string(out))
}

// command prints and runs one command.
func command(dir string, env []string, args ...string) error {
	fmt.Println("+", strings.Join(args, " "))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}
