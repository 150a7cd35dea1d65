package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/pricing"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "token",
		Usage: "--email <address> | --subject <name> [--name <text>] [--role <role>]... [--specialist <id>]... [--lifetime <duration>] [--config <file>]",
		Short: "Makes a token for a user or a program",
		Long: `
Prints a JWT signed with the configuration's secret (JWT_SECRET, or the one kept
in the data folder), to be sent as a bearer token or an SDK's API key.

With --specialist the token is good for those specialists or provider/model
names alone; "openai/*" is every model of a provider. The role "admin" sees
everybody's usage.`,
		CobraFunc: func(c *cobra.Command) {
			flags := c.Flags()
			flags.String("email", "", "e-mail address of the user")
			flags.String("subject", "", "name of the user or program (default: the e-mail address)")
			flags.String("name", "", "how to address the user")
			flags.StringSlice("role", nil, "role, e.g. admin; may be repeated")
			flags.StringSlice("specialist", nil, "specialist or provider/model it may use; may be repeated (default: all)")
			flags.Duration("lifetime", identity.DefaultLifetime, "how long it is good")
			configFlag(c)
			c.RunE = caddycmd.WrapCommandFuncForCobra(commandToken)
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "migrate",
		Usage: "[--status] [--config <file>]",
		Short: "Brings the database's schema up to date",
		Long: `
Runs the migrations that the configuration's database lacks and says which. The
server does the same at start, unless "auto_migrate off" is set. With --status
it only lists what is pending and exits with 1 if anything is.`,
		CobraFunc: func(c *cobra.Command) {
			c.Flags().Bool("status", false, "list what is pending, change nothing")
			configFlag(c)
			c.RunE = caddycmd.WrapCommandFuncForCobra(commandMigrate)
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "prices",
		Usage: "[<provider> [<model>]]",
		Short: "Shows the price table",
		Long: `
Prints USD per million tokens, read and generated, of every model the embedded
table knows, or of one provider's.`,
		CobraFunc: func(c *cobra.Command) {
			c.Args = cobra.MaximumNArgs(2)
			c.RunE = caddycmd.WrapCommandFuncForCobra(commandPrices)
		},
	})
}

func configFlag(c *cobra.Command) {
	c.Flags().StringP("config", "c", "", "configuration file (default: Caddyfile in this folder)")
	c.Flags().String("adapter", "", "name of the configuration's adapter (default: by the file's name)")
}

// loadApp reads the llm app of a configuration as the server would, without
// starting anything. Without a configuration it is the default one.
func loadApp(flags caddycmd.Flags) (*App, error) {
	app := &App{logger: slog.Default()} // on stderr, beside the command's own output
	file := flags.String("config")
	if file == "" {
		if _, err := os.Stat("Caddyfile"); err != nil {
			app.takeEnvironment()
			return app, app.replacePlaceholders()
		}
	}
	config, _, _, err := caddycmd.LoadConfig(file, flags.String("adapter"))
	if err != nil {
		return nil, err
	}
	var whole struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if raw, ok := whole.Apps["llm"]; ok {
		if err := caddy.StrictUnmarshalJSON(raw, app); err != nil {
			return nil, fmt.Errorf("read the llm app: %w", err)
		}
	}
	return app, app.replacePlaceholders()
}

// takeEnvironment configures what commands need as the default Caddyfile does.
func (a *App) takeEnvironment() {
	a.JWT.Secret, a.Database, a.DataDir = "{env.JWT_SECRET}", "{env.DATABASE_URL}", "{env.DATA_DIR}"
	a.ContentSecret, a.Pipelines.Dir = "{env.CONTENT_SECRET}", "{env.PIPELINES_DIR}"
	for _, name := range []string{"openai", "anthropic", "gemini", "xai", "groq", "deepseek", "mistral", "openrouter", "ollama"} {
		key, url := "{env."+strings.ToUpper(name)+"_API_KEY}", "{env."+strings.ToUpper(name)+"_BASE_URL}"
		if name == "gemini" {
			key, url = key+" {env.GOOGLE_API_KEY}", url+" {env.GOOGLE_BASE_URL}"
		}
		a.Providers = append(a.Providers, Provider{Name: name, Keys: []string{key}, BaseURL: url})
	}
}

func commandToken(flags caddycmd.Flags) (int, error) {
	email, subject := flags.String("email"), flags.String("subject")
	if subject == "" {
		subject = email
	}
	if subject == "" {
		return caddy.ExitCodeFailedStartup, errors.New("say whose token it is: --email ADDRESS or --subject NAME")
	}
	app, err := loadApp(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	key, err := app.ownSecret()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	signer, err := identity.NewSigner(key, ownIssuer)
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("jwt secret: %w", err)
	}
	token, err := signer.Mint(identity.Claims{
		Subject: subject, Email: email, Name: flags.String("name"),
		Roles: list(flags, "role"), Specialists: list(flags, "specialist"), Lifetime: flags.Duration("lifetime"),
	})
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	fmt.Println(token)
	return caddy.ExitCodeSuccess, nil
}

// list reads a flag that may be repeated.
func list(flags caddycmd.Flags, name string) []string {
	values, err := flags.GetStringSlice(name)
	if err != nil || len(values) == 0 {
		return nil
	}
	return values
}

func commandMigrate(flags caddycmd.Flags) (int, error) {
	app, err := loadApp(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	url, err := (&engine{app: app}).databaseURL()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	db, err := database.Open(url, database.Options{})
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	defer db.Close()
	ctx := context.Background() // an interrupt ends the process; both databases roll back
	if flags.Bool("status") {
		pending, err := db.Pending(ctx)
		if err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		for _, name := range pending {
			fmt.Println("pending", name)
		}
		if len(pending) > 0 {
			return caddy.ExitCodeFailedStartup, fmt.Errorf("the database lacks %d migrations", len(pending))
		}
		fmt.Println("up to date")
		return caddy.ExitCodeSuccess, nil
	}
	applied, err := db.Migrate(ctx)
	for _, m := range applied {
		fmt.Printf("applied %s in %s\n", m.Name, m.Duration.Round(time.Millisecond))
	}
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if len(applied) == 0 {
		fmt.Println("up to date")
	}
	return caddy.ExitCodeSuccess, nil
}

func commandPrices(flags caddycmd.Flags) (int, error) {
	table := pricing.Embedded()
	providers := table.Providers()
	if provider := flags.Arg(0); provider != "" {
		providers = []string{provider}
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "price table %s, USD per million tokens\n\nPROVIDER\tMODEL\tINPUT\tOUTPUT\n", table.Version())
	found := false
	for _, provider := range providers {
		for _, m := range table.Models(provider) {
			if wanted := flags.Arg(1); wanted != "" && !strings.Contains(m.Name, wanted) {
				continue
			}
			in, output, ok := m.PerMillion(pricing.At{Time: time.Now()})
			if !ok {
				continue
			}
			found = true
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", provider, m.Name, in, output)
		}
	}
	if !found {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("the table has no such model; providers: %s", strings.Join(table.Providers(), ", "))
	}
	return caddy.ExitCodeSuccess, out.Flush()
}
