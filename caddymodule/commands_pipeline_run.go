package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/pipeline"
	"github.com/financecommander/tollgate/internal/pipeline/execute"
	"github.com/financecommander/tollgate/internal/pipeline/run"
)

func pipelineRunCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run <file or name> --query <text> | --query-file <file> [--json] [--config <file>]",
		Short: "Runs a pipeline and shows how it goes",
		Long: `
Runs a pipeline, of a file or by its name, with the providers, the database and
the limits of the configuration; without one, with those of the environment, or
the built-in demo. Its output is printed alone; how it goes is told beside it, a
line for each thing that happens. The run and its calls are kept as those of the
user "operator" are ("tollgate token --subject operator").

The first interrupt (Ctrl-C) cancels the run, a second one ends the process.`,
		Args: cobra.ExactArgs(1),
		RunE: caddycmd.WrapCommandFuncForCobra(commandPipelineRun),
	}
	c.Flags().StringP("query", "q", "", "what to ask")
	c.Flags().String("query-file", "", "file with what to ask; - is the standard input")
	c.Flags().Bool("json", false, "print the run as the API gives it, in place of its output")
	configFlag(c)
	return c
}

func commandPipelineRun(flags caddycmd.Flags) (int, error) {
	query, err := queryOf(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = withPipelines(ctx, flags, func(e *engine) error {
		plan, err := e.planFor(flags.Arg(0))
		if err != nil {
			return err
		}
		o := &operator{engine: e, progress: progress{out: os.Stderr}}
		view, err := o.run(ctx, stop, plan, query)
		if err != nil {
			return err
		}
		return o.result(view, flags.Bool("json"))
	})
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return caddy.ExitCodeSuccess, nil
}

// queryOf reads what to ask.
func queryOf(flags caddycmd.Flags) (string, error) {
	query, file := flags.String("query"), flags.String("query-file")
	switch {
	case (query == "") == (file == ""):
		return "", errors.New("say what to ask: --query TEXT, or --query-file FILE (- is the standard input)")
	case query != "":
		return query, nil
	}
	from := io.Reader(os.Stdin)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		from = opened
	}
	text, err := io.ReadAll(io.LimitReader(from, run.MaxQuery+2)) // with a last line's end
	if err != nil {
		return "", fmt.Errorf("read the query: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// withPipelines runs a command on all parts of a configuration that a run needs,
// and brings its usage rows to the database before it ends.
func withPipelines(ctx context.Context, flags caddycmd.Flags, do func(*engine) error) error {
	app, err := loadApp(flags)
	if err != nil {
		return err
	}
	if app.Pipelines.Off {
		return errPipelinesOff
	}
	if err := app.Validate(); err != nil {
		return err
	}
	app.logger = quiet(slog.LevelWarn)
	modules, cancel := caddy.NewContext(caddy.Context{Context: context.WithoutCancel(ctx)})
	defer cancel()
	e := &engine{app: app, logger: app.logger, cancel: func() {}}
	defer e.close()
	for _, step := range []func(caddy.Context) error{
		e.openDatabase, e.openLimiter, e.openLedger, e.openRevocations, e.openConversations,
		e.openIdentity, e.openState, e.openProviders, e.openSpecialists, e.openPipelines,
	} {
		if err := step(modules); err != nil {
			return err
		}
	}
	if err := e.startForRuns(ctx); err != nil {
		return err
	}
	err = do(e)
	flushing, stop := context.WithTimeout(modules, flushTimeout)
	defer stop()
	if late := e.ledger.Flush(flushing); late != nil {
		notice("usage rows wait in %s for the database: %v", app.DataDir, late)
	}
	return err
}

// startForRuns starts what a run needs of the engine. Unlike a gateway that
// serves, it does not go on without the database: runs are kept there.
func (e *engine) startForRuns(ctx context.Context) error {
	if err := e.prepare(ctx, e.app.AutoMigrate == nil || *e.app.AutoMigrate); err != nil {
		return err
	}
	background := context.WithoutCancel(ctx)
	if err := e.specialists.Start(background); err != nil {
		return err
	}
	if err := e.ledger.start(); err != nil {
		return err
	}
	return e.startPipelines(background)
}

// planFor finds a pipeline by file or name, and says what it lacks here.
func (e *engine) planFor(name string) (*pipeline.Plan, error) {
	if isFile(name) {
		return readPlan(name, e.known(e.pipelines.client))
	}
	entry, ok := e.pipelines.catalog.Get(name)
	if !ok {
		return nil, noPipeline(name)
	}
	if faults := e.pipelines.catalog.Faults(entry); faults != nil {
		return nil, faults
	}
	return entry.Plan, nil
}

// operatorName is the subject of whoever runs pipelines from the command line.
const operatorName = "operator"

// operator runs a pipeline for a person at a terminal.
type operator struct {
	*engine
	progress progress
}

// caller is the operator as any other user is: by a token of the gateway's own.
func (o *operator) caller(ctx context.Context) (*identity.Principal, error) {
	token, err := o.signer.Mint(identity.Claims{Subject: operatorName})
	if err != nil {
		return nil, err
	}
	return o.verifier.Verify(ctx, token)
}

// run runs a plan to its end. The end of ctx cancels the run, and stop lets a
// second interrupt end the process.
func (o *operator) run(ctx context.Context, stop func(), plan *pipeline.Plan, query string) (*run.View, error) {
	ending := context.WithoutCancel(ctx)
	caller, err := o.caller(ending)
	if err != nil {
		return nil, err
	}
	if refused := o.pipelines.executor.MayRun(caller, plan); refused != nil {
		return nil, refused
	}
	runs := o.pipelines.runs
	begun, _, err := runs.Begin(ending, run.Begin{
		Caller: caller, Plan: plan, Query: query, Executor: o.pipelines.executor, Release: func() {},
	})
	if err != nil {
		return nil, err
	}
	feed, err := runs.Follow(ending, caller, begun.ID)
	if err != nil {
		return nil, err
	}
	defer feed.Close()
	o.progress.begin(plan, begun.ID)
	err = o.follow(ctx, feed)
	if err != nil && ctx.Err() != nil {
		stop()
		o.progress.note("cancelling")
		if _, err := runs.Cancel(ending, caller, begun.ID); err != nil {
			return nil, err
		}
		err = o.follow(ending, feed)
	}
	if err != nil {
		return nil, err
	}
	draining, cancel := context.WithTimeout(ending, flushTimeout)
	defer cancel()
	if err := runs.Drain(draining); err != nil {
		return nil, err
	}
	return runs.Get(ending, caller, begun.ID)
}

// follow shows a run's events to the last one.
func (o *operator) follow(ctx context.Context, feed *run.Feed) error {
	for {
		events, err := feed.Next(ctx)
		for _, event := range events {
			o.progress.show(event)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// result prints what came of the run.
func (o *operator) result(view *run.View, whole bool) error {
	o.progress.end(view)
	switch {
	case whole:
		text, err := json.MarshalIndent(view, "", "  ")
		if err != nil {
			return err
		}
		fmt.Println(string(text))
	case view.Output != nil:
		fmt.Println(strings.TrimRight(printable(os.Stdout, *view.Output), "\n"))
	}
	if view.Status != string(execute.Completed) {
		return errors.New(why(view))
	}
	return nil
}

// why says in a sentence why a run failed.
func why(view *run.View) string {
	message := "the run failed"
	if view.ErrorCode != nil {
		message += " (" + *view.ErrorCode + ")"
	}
	if view.ErrorMessage != nil {
		message += ": " + *view.ErrorMessage
	}
	return message
}

// printable leaves out what would command a terminal: a model's answer, or a page
// that it read, may hold anything. Files and other programs get all of it.
func printable(out *os.File, text string) string {
	info, err := out.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return withoutControls(text)
}

func withoutControls(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || 0x7f <= r && r < 0xa0) {
			return -1
		}
		return r
	}, text)
}

// since is how long after the run's begin something was.
func since(begin, at time.Time) time.Duration { return max(0, at.Sub(begin)) }
