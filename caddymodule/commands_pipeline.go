package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/catalog"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "pipeline",
		Usage: "validate|graph|list|run|schema",
		Short: "Checks, draws and runs pipelines",
		Long: `
A pipeline is several calls with dependencies, written in YAML or JSON. These
commands work with the Caddyfile of the folder, with the file given by --config,
or without any configuration.`,
		CobraFunc: func(c *cobra.Command) {
			c.AddCommand(
				pipelineValidateCommand(), pipelineGraphCommand(), pipelineListCommand(),
				pipelineRunCommand(), pipelineSchemaCommand(),
			)
		},
	})
}

func pipelineValidateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate <file or folder>... [--config <file>]",
		Short: "Says what is wrong with definitions, and where",
		Long: `
Checks definitions, or all of a folder's (*.yaml, *.yml, *.json), and prints one
line for each fault: FILE:LINE:COLUMN: path: what is wrong. It exits with 1 if
there is any. With a configuration it also checks that the specialists, providers
and hosts that they name are there.`,
		Args: cobra.MinimumNArgs(1),
		RunE: caddycmd.WrapCommandFuncForCobra(commandPipelineValidate),
	}
	configFlag(c)
	return c
}

func pipelineGraphCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "graph <file or name> [--config <file>]",
		Short: "Draws a pipeline, for Mermaid",
		Args:  cobra.ExactArgs(1),
		RunE:  caddycmd.WrapCommandFuncForCobra(commandPipelineGraph),
	}
	configFlag(c)
	return c
}

func pipelineListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [--config <file>]",
		Short: "Lists the pipelines that there are",
		Args:  cobra.NoArgs,
		RunE:  caddycmd.WrapCommandFuncForCobra(commandPipelineList),
	}
	configFlag(c)
	return c
}

func pipelineSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of definitions, for editors",
		Args:  cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
			fmt.Println(strings.TrimSpace(string(pipeline.Schema())))
			return caddy.ExitCodeSuccess, nil
		}),
	}
}

func commandPipelineValidate(flags caddycmd.Flags) (int, error) {
	files, err := definitionsOf(flags.Args())
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	known, err := knownTo(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	faulty := 0
	names := make(map[string]string) // of pipelines, to the file that has it
	for _, file := range files {
		plan, err := readPlan(file, known)
		if err == nil {
			err = taken(names, file, plan)
		}
		if err != nil {
			faulty++
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s: ok (%s)\n", file, stepsOf(plan))
	}
	if faulty > 0 {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("%d of %d definitions cannot be used", faulty, len(files))
	}
	return caddy.ExitCodeSuccess, nil
}

// stepsOf says how many steps a plan has.
func stepsOf(plan *pipeline.Plan) string {
	if n := len(plan.Steps); n != 1 {
		return fmt.Sprintf("%d steps", n)
	}
	return "1 step"
}

// taken notes which file has a pipeline, and says when another of its folder does.
func taken(names map[string]string, file string, plan *pipeline.Plan) error {
	key := filepath.Join(filepath.Dir(file), plan.Definition.Name)
	if other, ok := names[key]; ok {
		return fmt.Errorf("%s: name: %s has a pipeline of this name, too", file, other)
	}
	names[key] = file
	return nil
}

// definitionsOf gives the files that the arguments name.
func definitionsOf(args []string) (files []string, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, entry := range entries {
			file := filepath.Join(arg, entry.Name())
			if info, err := os.Stat(file); err == nil && !info.IsDir() && isDefinition(file) {
				files = append(files, file)
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s has no definitions (*.yaml, *.yml, *.json)", arg)
		}
	}
	return files, nil
}

// isDefinition tells which files of a folder are read, as package catalog does.
func isDefinition(file string) bool {
	hidden := strings.HasPrefix(filepath.Base(file), ".")
	return !hidden && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file))
}

// readPlan reads a definition and checks it, with what it refers to.
func readPlan(file string, known pipeline.Known) (*pipeline.Plan, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	plan, err := pipeline.Parse(file, text)
	if err != nil {
		return nil, err
	}
	if faults := plan.Check(known); faults != nil {
		return nil, faults
	}
	return plan, nil
}

// knownTo is what definitions may refer to by the configuration, if there is one.
func knownTo(flags caddycmd.Flags) (known pipeline.Known, err error) {
	if flags.String("config") == "" && !isFile("Caddyfile") {
		notice("there is no configuration, so it is not checked whether specialists, providers and hosts are there")
		return pipeline.Known{}, nil
	}
	err = withDefinitions(flags, func(ctx context.Context, e *engine) error {
		client, err := e.app.Pipelines.client()
		if err == nil {
			known = e.known(client)
		}
		return err
	})
	return known, err
}

// withDefinitions runs a command on those parts of a configuration that say what a
// definition may refer to. It changes nothing in the database, and works without.
func withDefinitions(flags caddycmd.Flags, run func(context.Context, *engine) error) error {
	app, err := loadApp(flags)
	if err != nil {
		return err
	}
	app.logger = quiet(slog.LevelError) // nothing is asked, so it matters not who would answer
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	e := &engine{app: app, logger: app.logger, cancel: func() {}}
	defer e.close()
	for _, step := range []func(caddy.Context) error{e.openDatabase, e.openProviders, e.openSpecialists} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	looking, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	if err := e.readSpecialists(looking); err != nil {
		notice("the database's specialists are not known: %v", err)
	}
	return run(looking, e)
}

// readSpecialists reads the database's specialists, if it can be read as it is.
func (e *engine) readSpecialists(ctx context.Context) error {
	if err := e.migrated(ctx); err != nil {
		return err
	}
	return e.specialists.Refresh(ctx)
}

// migrated says why the database cannot be read as it is.
func (e *engine) migrated(ctx context.Context) error {
	if err := e.db.Ping(ctx); err != nil {
		return err
	}
	pending, err := e.db.Pending(ctx)
	if err == nil && len(pending) > 0 {
		err = errors.New("its schema is not up to date; the gateway's start or `tollgate migrate` makes it so")
	}
	return err
}

func commandPipelineGraph(flags caddycmd.Flags) (int, error) {
	name := flags.Arg(0)
	if isFile(name) {
		plan, err := readPlan(name, pipeline.Known{})
		if err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		fmt.Print(plan.Mermaid())
		return caddy.ExitCodeSuccess, nil
	}
	return withCatalog(flags, func(all *catalog.Catalog) error {
		entry, ok := all.Get(name)
		if !ok {
			return noPipeline(name)
		}
		fmt.Print(entry.Plan.Mermaid())
		return nil
	})
}

func commandPipelineList(flags caddycmd.Flags) (int, error) {
	return withCatalog(flags, func(all *catalog.Catalog) error {
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "NAME\tCATEGORY\tSTEPS\tFROM\tFAULTS\tDISPLAY NAME")
		for _, entry := range all.List() {
			d, faults := &entry.Plan.Definition, 0
			if f := all.Faults(entry); f != nil {
				faults = len(f.List)
			}
			fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%d\t%s\n",
				d.Name, d.Category, len(d.Steps), entry.Source, faults, cmp.Or(d.DisplayName, d.Name))
		}
		for _, b := range all.Broken() {
			fmt.Fprintf(out, "%s\t\t\t%s\t%d\tcannot be used\n", b.Name, catalog.FromDatabase, len(b.Faults.List))
		}
		return out.Flush()
	})
}

// withCatalog runs a command on the pipelines of a configuration.
func withCatalog(flags caddycmd.Flags, run func(*catalog.Catalog) error) (int, error) {
	err := withDefinitions(flags, func(ctx context.Context, e *engine) error {
		if e.app.Pipelines.Off {
			return errPipelinesOff
		}
		if err := e.openCatalog(); err != nil {
			return err
		}
		all := e.pipelines.catalog
		err := e.migrated(ctx)
		if err == nil {
			err = all.Refresh(ctx)
		}
		if err != nil {
			notice("the database's pipelines are not known: %v", err)
		}
		return run(all)
	})
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return caddy.ExitCodeSuccess, nil
}

var errPipelinesOff = errors.New("pipelines are turned off in the configuration")

func noPipeline(name string) error {
	return fmt.Errorf("there is no file and no pipeline %q; `tollgate pipeline list` shows those that there are", name)
}

// isFile tells a file's name from a pipeline's.
func isFile(name string) bool {
	if strings.ContainsRune(name, filepath.Separator) || isDefinition(name) {
		return true
	}
	info, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist) && err == nil && !info.IsDir()
}

// quiet logs what goes wrong alone, beside a command's own output.
func quiet(from slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		Level: from,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// notice tells people something beside a command's output.
func notice(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// seconds rounds a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
