package identity

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/secret"
)

// verified gives the principal of a token of the issuer with these claims.
func verifiedBy(t *testing.T, issuer Issuer, claims map[string]any) *Principal {
	t.Helper()
	token := signed(jwt.SigningMethodEdDSA, keyring().ed, nil, goodClaims(issuer.Issuer, claims))
	if !issuer.Secret.IsZero() {
		token = signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(issuer.Issuer, claims))
	}
	p, err := newVerifier(t, issuer).Verify(t.Context(), token)
	require.NoError(t, err)
	return p
}

func TestRules(t *testing.T) {
	t.Parallel()
	issuer := keyIssuer("idp", keyring().ed)
	roleAndRate := []Rule{
		{Claim: "groups", Value: "staff", Role: "staff", UserRate: "100/h"},
		{Claim: "realm.access", Value: "vip", Role: "staff", UserRate: "1000/h"},
		{Claim: "groups", Value: "ops", Role: RoleAdmin},
	}
	specialists := []Rule{
		{Claim: "groups", Value: "legal", Specialists: []string{"legal-quick"}},
		{Claim: "groups", Value: "ops", Specialists: []string{"openai/*", "code-reviewer"}},
	}
	groups := func(names ...string) map[string]any { return map[string]any{"groups": names} }
	for name, c := range map[string]struct {
		rules       []Rule
		claims      map[string]any
		roles       []string
		rate        string
		specialists []string
	}{
		"none fits":                  {roleAndRate, groups("guests"), nil, "", nil},
		"no such claim":              {roleAndRate, nil, nil, "", nil},
		"one fits":                   {roleAndRate, groups("a", "staff"), []string{"staff"}, "100/h", nil},
		"a text":                     {roleAndRate, map[string]any{"groups": "staff"}, []string{"staff"}, "100/h", nil},
		"not a part of a text":       {roleAndRate, map[string]any{"groups": "staff ops"}, nil, "", nil},
		"a dotted path":              {roleAndRate, map[string]any{"realm": map[string]any{"access": "vip"}}, []string{"staff"}, "1000/h", nil},
		"the first rate counts":      {roleAndRate, map[string]any{"groups": "staff", "realm.access": "vip"}, []string{"staff"}, "100/h", nil},
		"beside the token's roles":   {roleAndRate, map[string]any{"groups": "ops", "roles": "staff x"}, []string{"staff", "x", RoleAdmin}, "", nil},
		"specialists, none fits":     {specialists, groups("guests"), nil, "", []string{}},
		"specialists, both fit":      {specialists, groups("ops", "legal"), nil, "", []string{"legal-quick", "openai/*", "code-reviewer"}},
		"specialists, token lists":   {specialists, map[string]any{"groups": "legal", "specialists": "a"}, nil, "", []string{"a", "legal-quick"}},
		"specialists, token: none":   {specialists, map[string]any{"groups": "guests", "specialists": []string{}}, nil, "", []string{}},
		"values in another case":     {roleAndRate, groups("Staff"), nil, "", nil},
		"nested lists do not fit":    {roleAndRate, map[string]any{"groups": []any{[]string{"ops"}}}, nil, "", nil},
		"the token's own rate claim": {roleAndRate, map[string]any{"rate": "9999/s", "kind": "api", "sid": "s"}, nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := issuer
			issuer.Rules = c.rules
			p := verifiedBy(t, issuer, c.claims)
			require.Equal(t, c.roles, p.Roles)
			require.Equal(t, c.rate, p.UserRate)
			require.Equal(t, c.specialists, p.Specialists)
			require.Empty(t, string(p.Kind)+p.Session+p.Rate, "only our own tokens say that")
		})
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	own := secretIssuer()
	own.Own = true
	other := keyIssuer("idp", keyring().ed)
	people := map[string]string{" Ada@Example.com": RoleAdmin, "ada@example.com": RoleViewer, "vi@example.com": RoleViewer}
	own.People, other.People = people, people
	for name, c := range map[string]struct {
		issuer Issuer
		claims map[string]any
		want   string
	}{
		"an admin":                              {own, map[string]any{"email": "ADA@example.com"}, RoleAdmin},
		"a viewer":                              {own, map[string]any{"email": "vi@example.com"}, RoleViewer},
		"somebody else":                         {own, map[string]any{"email": "bob@example.com"}, RoleUser},
		"nobody":                                {own, nil, RoleUser},
		"an address as subject":                 {own, map[string]any{"sub": "ada@example.com"}, RoleUser},
		"a look-alike":                          {own, map[string]any{"email": "ada@examp\u217ce.com"}, RoleUser},
		"not verified":                          {own, map[string]any{"email": "ada@example.com", "email_verified": false}, RoleUser},
		"an API token of an admin":              {own, map[string]any{"email": "ada@example.com", "kind": "api"}, RoleUser},
		"an API token that says admin":          {own, map[string]any{"email": "bob@example.com", "kind": "api", "roles": "admin"}, RoleUser},
		"another issuer, verified":              {other, map[string]any{"email": "ada@example.com", "email_verified": true}, RoleAdmin},
		"another issuer, verified as a text":    {other, map[string]any{"email": "ada@example.com", "email_verified": "true"}, RoleAdmin},
		"another issuer, verified or not":       {other, map[string]any{"email": "ada@example.com"}, RoleUser},
		"another issuer, not verified":          {other, map[string]any{"email": "ada@example.com", "email_verified": false}, RoleUser},
		"another issuer, verified with a list":  {other, map[string]any{"email": "ada@example.com", "email_verified": []any{}}, RoleUser},
		"another issuer, verified with a digit": {other, map[string]any{"email": "ada@example.com", "email_verified": 1}, RoleUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := verifiedBy(t, c.issuer, c.claims)
			require.Equal(t, c.want, p.Role())
			require.Equal(t, c.want == RoleAdmin, p.HasRole(RoleAdmin), "nobody who looks at the list is misled")
		})
	}
}

func TestDomainsOfOwnTokens(t *testing.T) {
	t.Parallel()
	own := secretIssuer()
	own.Own = true
	own.Domains = must(ParseDomains([]string{"example.com", "*.example.org"}))
	v := newVerifier(t, own)
	for name, c := range map[string]struct {
		claims map[string]any
		good   bool
	}{
		"a log-in":                        {map[string]any{"sid": "s", "email": "a@example.com"}, true},
		"a log-in below a domain":         {map[string]any{"sid": "s", "email": "a@eu.example.org"}, true},
		"an API token":                    {map[string]any{"kind": "api", "email": "a@example.com"}, true},
		"the operator's token":            {map[string]any{"email": "batch@elsewhere.example"}, true},
		"an API token without address":    {map[string]any{"kind": "api"}, true},
		"a log-in of another domain":      {map[string]any{"sid": "s", "email": "a@elsewhere.example"}, false},
		"an API token of another":         {map[string]any{"kind": "api", "email": "a@elsewhere.example"}, false},
		"a log-in without address":        {map[string]any{"sid": "s"}, false},
		"a log-in, not verified":          {map[string]any{"sid": "s", "email": "a@example.com", "email_verified": false}, false},
		"a log-in at the domain above":    {map[string]any{"sid": "s", "email": "a@example.org"}, false},
		"a log-in of a look-alike":        {map[string]any{"sid": "s", "email": "a@ex\u0430mple.com"}, false},
		"a log-in with an odd local part": {map[string]any{"sid": "s", "email": "a@elsewhere.example@example.com"}, false},
	} {
		_, err := v.Verify(t.Context(), signed(jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims("https://own", c.claims)))
		if c.good {
			require.NoError(t, err, name)
			continue
		}
		require.Error(t, err, name)
		requireCause(t, llm.CauseUnauthenticated, err)
		require.NotContains(t, err.Error(), "elsewhere", "whose address it is is no one's business")
	}
}

func TestNewRefusesBadRulesAndPeople(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Issuer)
		want   string
	}{
		"rule without claim":       {func(i *Issuer) { i.Rules = []Rule{{Value: "x", Role: "y"}} }, "needs a claim"},
		"rule without value":       {func(i *Issuer) { i.Rules = []Rule{{Claim: "x", Role: "y"}} }, "needs a claim"},
		"rule that gives nothing":  {func(i *Issuer) { i.Rules = []Rule{{Claim: "x", Value: "y"}} }, "gives nothing"},
		"rule with a blank role":   {func(i *Issuer) { i.Rules = []Rule{{Claim: "x", Value: "y", Role: " "}} }, "space around"},
		"rule with a blank rate":   {func(i *Issuer) { i.Rules = []Rule{{Claim: "x", Value: "y", UserRate: "\t"}} }, "space around"},
		"rule with no specialist":  {func(i *Issuer) { i.Rules = []Rule{{Claim: "x", Value: "y", Specialists: []string{"a", ""}}} }, "without a name"},
		"people, unknown role":     {func(i *Issuer) { i.People = map[string]string{"ada@example.com": "root"} }, `"root"`},
		"people, not an address":   {func(i *Issuer) { i.People = map[string]string{"ada": RoleAdmin} }, "not an e-mail address"},
		"people, every address":    {func(i *Issuer) { i.People = map[string]string{"*@example.com": RoleAdmin, "@example.com": RoleAdmin} }, "not an e-mail address"},
		"domains of somebody else": {func(i *Issuer) { i.Domains = must(ParseDomains([]string{"example.com"})) }, "own issuer"},
		"own without a secret":     {func(i *Issuer) { i.Own, i.Secret, i.PublicKeys = true, secret.Secret{}, publicPEM(keyring().rsa) }, "needs a secret"},
		"own without an iss":       {func(i *Issuer) { i.Own, i.Issuer = true, "" }, "needs a secret"},
	} {
		issuer := secretIssuer()
		c.change(&issuer)
		_, err := New([]Issuer{issuer}, Options{})
		require.Error(t, err, name)
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "ada@", name)
	}
}
