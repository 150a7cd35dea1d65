package login

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/mail"
)

// Mails say no more than is needed, and nothing that somebody else could choose:
// whoever types an address could otherwise have us send it their words.
const (
	plainText = `Open this link to sign in to {{.App}}:

{{.Link}}

Or type this code where you asked to sign in:

    {{.Code}}

Either works once, for 10 minutes. If you did not ask to sign in, ignore this
mail: without it nobody gets in. Never tell the code to anybody.
`
	htmlText = `<!doctype html>
<html lang="en"><body style="font-family:sans-serif;line-height:1.5">
<p><a href="{{.Link}}">Sign in to {{.App}}</a></p>
<p>Or type this code where you asked to sign in:</p>
<p style="font-size:1.5em;letter-spacing:.1em"><code>{{.Code}}</code></p>
<p>Either works once, for 10 minutes. If you did not ask to sign in, ignore this mail: without it nobody gets in.
Never tell the code to anybody.</p>
</body></html>
`
)

// texts are the mails' words.
type texts struct {
	app   string
	plain *texttemplate.Template
	html  *htmltemplate.Template
}

func newTexts(app string) *texts {
	return &texts{
		app:   strings.Join(strings.Fields(app), " "), // it is in the subject too
		plain: texttemplate.Must(texttemplate.New("mail").Parse(plainText)),
		html:  htmltemplate.Must(htmltemplate.New("mail").Parse(htmlText)),
	}
}

func (t *texts) message(to identity.Address, link, code string) (*mail.Message, error) {
	facts := struct{ App, Link, Code string }{t.app, link, code[:codeLength/2] + "-" + code[codeLength/2:]}
	var plain, html bytes.Buffer
	if err := t.plain.Execute(&plain, facts); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	if err := t.html.Execute(&html, facts); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	return &mail.Message{To: to, Subject: "Sign in to " + t.app, Text: plain.String(), HTML: html.String()}, nil
}
