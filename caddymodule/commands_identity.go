package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/revocation"
	"github.com/financecommander/tollgate/internal/identity/session"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "revoke",
		Usage: "<token or its id> [--reason <text>] [--config <file>]",
		Short: "Withdraws a token",
		Long: `
Withdraws a token, given whole or by its id ("jti", in the usage log as
token_id). Every running gateway with the same database refuses it within a
second. To end all that somebody has, see "tollgate user block".`,
		CobraFunc: func(c *cobra.Command) {
			c.Args = cobra.ExactArgs(1)
			c.Flags().String("reason", "", "kept with the revocation, for people who look at the table")
			configFlag(c)
			c.RunE = caddycmd.WrapCommandFuncForCobra(commandRevoke)
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "user",
		Usage: "block|unblock|forget --email <address> | --user <hash> [--config <file>]",
		Short: "Blocks, unblocks or forgets a user of the portal",
		Long: `
block    ends what the user has, log-ins and tokens, and lets nobody sign in as
         the user any more
unblock  lets the user sign in again; what blocking ended stays ended
forget   ends what the user has and deletes it, with all conversations; the
         user may sign in anew. Usage rows stay.

Every running gateway with the same database follows within a second. Each is
written to the audit log, as done by nobody ("").`,
		CobraFunc: func(c *cobra.Command) {
			c.Args = cobra.ExactArgs(1)
			c.Flags().String("email", "", "e-mail address of the user")
			c.Flags().String("user", "", "the user's hash, as in the usage log")
			configFlag(c)
			c.RunE = caddycmd.WrapCommandFuncForCobra(commandUser)
		},
	})
}

// withEngine runs a command on the parts of a configuration, with the database
// and without serving anything.
func withEngine(flags caddycmd.Flags, run func(context.Context, *engine) error) (int, error) {
	app, err := loadApp(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	e := &engine{app: app, logger: app.logger, cancel: func() {}}
	defer e.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, step := range []func(caddy.Context) error{
		e.openDatabase, e.openLimiter, e.openRevocations, e.openConversations, e.openIdentity,
	} {
		if err := step(caddy.Context{Context: ctx}); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	if err := run(ctx, e); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return caddy.ExitCodeSuccess, nil
}

// longestToken is how long any token may be good, if it does not say itself.
const longestToken = 10 * 366 * 24 * time.Hour

func commandRevoke(flags caddycmd.Flags) (int, error) {
	id, expires := flags.Arg(0), time.Now().Add(longestToken)
	// Whoever holds the database may withdraw anything, so it matters not whether
	// the token is a good one.
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(id, &claims); err == nil {
		id = cmp.Or(claims.ID, identity.IDOf(id))
		if claims.ExpiresAt != nil {
			expires = claims.ExpiresAt.Add(time.Hour) // for clocks that differ
		}
	} else if strings.HasPrefix(id, "eyJ") { // as tokens begin, and ids do not
		return caddy.ExitCodeFailedStartup, errors.New("this is a part of a token; give it whole, or its id")
	}
	return withEngine(flags, func(ctx context.Context, e *engine) error {
		err := e.sessions.RevokeToken(ctx, id, "", &session.Actor{})
		if errors.Is(err, session.ErrNotFound) { // not one that somebody made for a program
			err = e.revocations.Revoke(ctx, revocation.Entry{
				Kind: revocation.Token, Value: id, ExpiresAt: expires, Reason: cmp.Or(flags.String("reason"), "operator"),
			})
		}
		if err == nil {
			fmt.Println("withdrawn", id)
		}
		return err
	})
}

func commandUser(flags caddycmd.Flags) (int, error) {
	return withEngine(flags, func(ctx context.Context, e *engine) error {
		user, err := whose(flags, e.hasher)
		if err != nil {
			return err
		}
		switch done := flags.Arg(0); done {
		case "block":
			err = e.sessions.Block(ctx, user, session.Actor{})
		case "unblock":
			err = e.sessions.Unblock(ctx, user, session.Actor{})
		case "forget":
			err = e.sessions.Delete(ctx, user, session.Actor{})
		default:
			return fmt.Errorf("%q is not block, unblock or forget", done)
		}
		if errors.Is(err, session.ErrNotFound) {
			return errors.New("nobody of that address or hash has signed in")
		}
		if err == nil {
			fmt.Println(flags.Arg(0), user)
		}
		return err
	})
}

// whose gives the hash of the user that the flags name. A slip of the pen must not
// block a hash that nobody has and look like a success.
func whose(flags caddycmd.Flags, hasher identity.Hasher) (string, error) {
	email, user := flags.String("email"), flags.String("user")
	switch {
	case (email == "") == (user == ""):
		return "", errors.New("say who: --email ADDRESS or --user HASH")
	case email != "":
		address, ok := identity.ParseAddress(email)
		if !ok {
			return "", errors.New("what --email says is not an e-mail address; --user HASH names anybody")
		}
		return hasher.HashEmail(address.Reveal()), nil
	case len(user) != 64 || strings.Trim(user, "0123456789abcdef") != "":
		return "", errors.New("what --user says is not a user's hash, which has 64 digits and letters from a to f")
	}
	return user, nil
}
