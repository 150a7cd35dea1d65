//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{}
	flag.StringVar(&b.binary, "binary", "bin/tollgate", "the binary to measure")
	flag.IntVar(&b.core, "core", 0, "the core of the gateways; mock, load, Redis and PostgreSQL get -load-core")
	loadCore := flag.Int("load-core", 1, "the core of everything else")
	rounds := flag.Int("rounds", 7, "rounds of each gateway per scenario")
	only := flag.String("only", "", "scenarios to run, with commas (default: all): "+strings.Join(names(scenarios()), ", "))
	profile := flag.Bool("profile", false, "print where the CPU time of each gateway goes, after its rounds")
	readme := flag.Bool("readme", false, "write the table into bench/README.md")
	flag.BoolVar(&b.self, "self", false, "measure plain Caddy against itself: what the ratios are when there is no difference")
	pipelines := flag.Bool("pipelines", false, "measure runs of pipelines instead")
	flag.Parse()

	chosen, err := choose(scenarios(), *only)
	if err != nil {
		return err
	}
	if runtime.NumCPU() < 2 || b.core == *loadCore {
		return errors.New("needs two cores")
	}
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if err := pinSelf(*loadCore); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "tollgate-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)

	closeAll, err := b.open(ctx)
	defer closeAll()
	if err != nil {
		return err
	}
	if *pipelines {
		return b.pipelines(ctx, *rounds)
	}
	r := newReport(*rounds)
	for _, s := range chosen {
		fmt.Fprintln(os.Stderr, "measuring", s.name)
		res, err := b.run(ctx, s, *rounds, *profile)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, res)
		r.Rows = append(r.Rows, rowsOf(s, res)...)
	}
	fmt.Printf("\n%s\n%s", r.Machine, table(r.Rows))
	return b.keep(r, *only == "", *readme)
}

// keep writes the results of a whole run; a partial one is only printed.
func (b *bench) keep(r *report, whole, readme bool) error {
	if !whole || b.self {
		return nil
	}
	if err := r.write("bench/results.json"); err != nil || !readme {
		return err
	}
	return r.render("bench/README.md")
}

func names(all []scenario) (list []string) {
	for _, s := range all {
		list = append(list, s.name)
	}
	return list
}

// choose keeps the scenarios named in a list with commas.
func choose(all []scenario, only string) ([]scenario, error) {
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names(all), name) {
			return nil, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(wanted, s.name) }), nil
}
