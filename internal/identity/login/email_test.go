package login

import (
	"context"
	"fmt"
	"html"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/database"
	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/identity/session"
	"github.com/financecommander/tollgate/internal/mail"
	"github.com/financecommander/tollgate/internal/secret"
)

func TestLinkOrTypedCodeSignsInOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		e, box := newEmail(t, db, nil)
		alice := address(t, "Alice@Example.org")
		want := session.Person{Address: alice, Name: "alice", Provider: "email"}

		first := sent(t, e, box, "alice@example.org")
		person, err := e.RedeemLink(ctx, first.Code, first.State)
		require.NoError(t, err)
		require.Equal(t, want, person)
		_, err = e.RedeemLink(ctx, first.Code, first.State)
		requireFailed(t, err, "the link again")
		_, err = e.RedeemTyped(ctx, alice, first.Code)
		requireFailed(t, err, "the link's code, typed")

		for _, typed := range []func(string) string{
			func(code string) string { return code },
			func(code string) string { return " " + strings.ToLower(code[:4]) + " - " + code[4:] + "\t" },
		} {
			second := sent(t, e, box, "alice@example.org")
			person, err = e.RedeemTyped(ctx, alice, typed(second.Code))
			require.NoError(t, err)
			require.Equal(t, want, person)
			_, err = e.RedeemLink(ctx, second.Code, second.State)
			requireFailed(t, err, "the link after the typed code")
		}
	})
}

// Another replica, with the same secret and database, ends what one began; one
// with another secret does not.
func TestReplicas(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	e, box := newEmail(t, db, nil)
	stranger, _ := newEmail(t, db, func(o *EmailOptions) { o.Secret = secret.New("another secret of thirty-two bytes, for tests") })
	l := sent(t, e, box, "alice@example.org")
	_, err := stranger.RedeemLink(t.Context(), l.Code, l.State)
	requireFailed(t, err, "link")
	_, err = stranger.RedeemTyped(t.Context(), address(t, "alice@example.org"), l.Code)
	requireFailed(t, err, "typed")
	replica, _ := newEmail(t, db, nil)
	_, err = replica.RedeemLink(t.Context(), l.Code, strings.TrimPrefix(l.State, "email:"))
	require.NoError(t, err)
}

func TestCodesOfOthersAndOldOnes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	ctx := t.Context()
	e, box := newEmail(t, db, nil)
	alice, bob := sent(t, e, box, "alice@example.org"), sent(t, e, box, "bob@example.org")
	older := alice
	alice = sent(t, e, box, "alice@example.org")

	for name, try := range map[string]func() (session.Person, error){
		"typed, another's":             func() (session.Person, error) { return e.RedeemTyped(ctx, address(t, "alice@example.org"), bob.Code) },
		"typed, of nobody":             func() (session.Person, error) { return e.RedeemTyped(ctx, address(t, "eve@example.org"), bob.Code) },
		"typed, superseded":            func() (session.Person, error) { return e.RedeemTyped(ctx, address(t, "alice@example.org"), older.Code) },
		"link, another's code":         func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, bob.State) },
		"link, another's prefix":       func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, "google:"+alice.State) },
		"link, no state":               func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, "email:") },
		"link, cut":                    func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, alice.State[:len(alice.State)-1]) },
		"link, longer":                 func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, alice.State+"A") },
		"link, line":                   func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, alice.State+"\n") },
		"link, huge":                   func() (session.Person, error) { return e.RedeemLink(ctx, alice.Code, strings.Repeat("A", 1<<20)) },
		"no code":                      func() (session.Person, error) { return e.RedeemLink(ctx, "", alice.State) },
		"a code in other characters":   func() (session.Person, error) { return e.RedeemLink(ctx, "0OI1!'\"%", alice.State) },
		"a code of full-width letters": func() (session.Person, error) { return e.RedeemLink(ctx, "ＡＢＣＤ", alice.State) },
		"a long code":                  func() (session.Person, error) { return e.RedeemLink(ctx, strings.Repeat(alice.Code, 9), alice.State) },
	} {
		_, err := try()
		requireFailed(t, err, name)
	}
	for i := range alice.State {
		changed := []byte(alice.State)
		changed[i] ^= 1
		_, err := e.RedeemLink(ctx, alice.Code, string(changed))
		requireFailed(t, err, "a changed state")
	}

	old, _ := newEmail(t, later{db, Lifetime}, nil)
	_, err := old.RedeemLink(ctx, alice.Code, alice.State)
	requireFailed(t, err, "expired link")
	_, err = old.RedeemTyped(ctx, address(t, "alice@example.org"), alice.Code)
	requireFailed(t, err, "expired code")
	almost, _ := newEmail(t, later{db, Lifetime - time.Minute}, nil)
	for _, l := range []letter{alice, bob, older} {
		_, err = almost.RedeemLink(ctx, l.Code, l.State)
		require.NoError(t, err, "none of this used anything up")
	}
}

// wrong gives codes that are not the right one.
func wrong(code string, n int) string {
	other := []byte(code)
	for i := range 3 {
		other[i] = alphabet[(strings.IndexByte(alphabet, code[i])+1+n%31)%32]
		n /= 31
	}
	return string(other)
}

const crowd = 200

func TestGuessingTypedCodes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		e, box := newEmail(t, db, nil)
		alice := address(t, "alice@example.org")
		l := sent(t, e, box, "alice@example.org")
		parallel(func(i int) {
			if _, err := e.RedeemTyped(ctx, alice, wrong(l.Code, i)); err == nil {
				t.Error("a wrong code was taken")
			}
		})
		_, err := e.RedeemTyped(ctx, alice, l.Code)
		requireFailed(t, err, "the right code after too many wrong ones")
		row, err := db.TryLoginCode(ctx, rowOf(t, e, l), maxTried, time.Now())
		require.NoError(t, err)
		require.EqualValues(t, maxTyped+1, row.Attempts, "all replicas together had five")
		_, err = e.RedeemLink(ctx, l.Code, l.State)
		require.NoError(t, err, "nobody can lock out who has the mail")
	})
}

func TestGuessingCodesOfLinks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		e, box := newEmail(t, db, nil)
		l := sent(t, e, box, "alice@example.org")
		parallel(func(i int) {
			if _, err := e.RedeemLink(ctx, wrong(l.Code, i), l.State); err == nil {
				t.Error("a wrong code was taken")
			}
		})
		_, err := e.RedeemLink(ctx, l.Code, l.State)
		requireFailed(t, err, "the right code after too many wrong ones")
		_, err = db.TryLoginCode(ctx, rowOf(t, e, l), maxTried, time.Now())
		require.ErrorIs(t, err, database.ErrNotFound)
	})
}

// Of many who have the right code, one gets in.
func TestCodesAreRedeemedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		e, box := newEmail(t, db, nil)
		l := sent(t, e, box, "alice@example.org")
		var in atomic.Int64
		parallel(func(i int) {
			var err error
			if i%2 == 0 {
				_, err = e.RedeemLink(ctx, l.Code, l.State)
			} else {
				_, err = e.RedeemTyped(ctx, address(t, "alice@example.org"), l.Code)
			}
			if err == nil {
				in.Add(1)
			}
		})
		require.EqualValues(t, 1, in.Load())
	})
}

func parallel(do func(i int)) {
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func rowOf(t *testing.T, e *Email, l letter) string {
	t.Helper()
	state, err := e.open(strings.TrimPrefix(l.State, "email:"))
	require.NoError(t, err)
	return rowID(EmailName, state.ID)
}

// The same happens for everybody, in the same order, before and after the answer;
// but for the mail itself.
func TestNobodyLearnsWhoIsBlocked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := &counted{Store: newDatabase(t)}
	hasher := identity.Hasher{}
	var asked []string
	e, box := newEmail(t, store, func(o *EmailOptions) {
		o.Blocked = func(_ context.Context, hash string) (bool, error) {
			asked = append(asked, hash)
			return hash == hasher.HashEmail("blocked@example.org"), nil
		}
	})
	known := sent(t, e, box, "known@example.org")
	_, err := e.RedeemLink(ctx, known.Code, known.State)
	require.NoError(t, err)
	store.taken()
	asked = nil

	for _, who := range []string{"known@example.org", "unknown@example.org", "blocked@example.org"} {
		require.NoError(t, e.Send(address(t, who)))
		require.Empty(t, store.taken(), "nothing is looked up before the answer")
		require.Empty(t, asked)

		message := box.next(t)
		require.Equal(t, who == "blocked@example.org", message == nil)
		require.Equal(t, []string{"insert"}, store.taken())
		require.Equal(t, []string{hasher.HashEmail(who)}, asked)
		asked = nil

		_, err := e.RedeemTyped(ctx, address(t, who), "22222222")
		requireFailed(t, err, who)
		require.Equal(t, []string{"try newest"}, store.taken())
	}
}

// An answer waits for nothing that depends on whose address it is: the look at who
// is blocked would show here.
func TestSendingDoesNotWaitForWhoIsBlocked(t *testing.T) {
	t.Parallel()
	e, _ := newEmail(t, broken{}, func(o *EmailOptions) {
		o.Blocked = func(context.Context, string) (bool, error) {
			time.Sleep(50 * time.Millisecond) // would show
			return true, nil
		}
	})
	whose := []identity.Address{address(t, "known@example.org"), address(t, "blocked@example.org")}
	for _, a := range whose {
		begin := time.Now()
		for range 100 {
			require.NoError(t, e.Send(a))
		}
		require.Less(t, time.Since(begin), 100*50*time.Millisecond/2)
	}
}

func TestMail(t *testing.T) {
	t.Parallel()
	e, box := newEmail(t, newDatabase(t), func(o *EmailOptions) { o.App = "R&D <Portal>\r\nBcc: eve@example.com" })
	require.NoError(t, e.Send(address(t, "alice@example.org")))
	m := box.next(t)
	l := read(t, m)
	require.Equal(t, address(t, "alice@example.org"), m.To)
	require.Equal(t, "Sign in to R&D <Portal> Bcc: eve@example.com", m.Subject)
	shown := l.Code[:4] + "-" + l.Code[4:]
	require.Contains(t, m.Text, shown)
	require.Contains(t, m.HTML, shown)
	href := regexp.MustCompile(`href="([^"]+)"`).FindStringSubmatch(m.HTML)
	require.NotNil(t, href)
	require.Equal(t, "https://ai.example.com/portal/?code="+l.Code+"&state="+l.State, html.UnescapeString(href[1]))
	require.NotContains(t, m.HTML, "<Portal>")
	for _, text := range []string{m.Text, m.HTML, m.Subject} {
		require.NotContains(t, text, "alice", "the address is sealed in the state")
	}
}

func TestCodesAreRandom(t *testing.T) {
	t.Parallel()
	seen, letters := map[string]bool{}, map[rune]bool{}
	for range 2000 {
		code := newCode()
		read, ok := readCode(code)
		require.True(t, ok)
		require.Equal(t, code, read)
		require.False(t, seen[code])
		seen[code] = true
		for _, c := range code {
			letters[c] = true
		}
	}
	require.Len(t, letters, len(alphabet))
}

// What lies in the database is worth nothing to who reads it.
func TestStoredCodes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	store := &recording{Store: db}
	e, box := newEmail(t, store, nil)
	l := sent(t, e, box, "alice@example.org")
	state, err := e.open(strings.TrimPrefix(l.State, "email:"))
	require.NoError(t, err)
	row := fmt.Sprintf("%+v %q", store.row, store.row.CodeHash)
	for _, secret := range []string{l.Code, state.ID, "alice", "@example", l.State} {
		require.NotContains(t, row, secret)
	}
	require.Equal(t, identity.HashEmail("alice@example.org"), store.row.EmailHash)
	require.WithinDuration(t, time.Now().Add(Lifetime), store.row.ExpiresAt, time.Minute)
	require.Equal(t, Lifetime, store.row.ExpiresAt.Sub(store.row.CreatedAt))
}

// recording keeps the row that was stored last.
type recording struct {
	Store
	row database.LoginCode
}

func (s *recording) InsertLoginCode(ctx context.Context, c database.LoginCode) error {
	s.row = c
	return s.Store.InsertLoginCode(ctx, c)
}

func TestOutages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	good, box := newEmail(t, newDatabase(t), nil)
	l := sent(t, good, box, "alice@example.org")
	e, box := newEmail(t, broken{}, nil)
	_, err := e.RedeemLink(ctx, l.Code, l.State)
	requireStatus(t, err, 503, "not possible right now", "link")
	_, err = e.RedeemTyped(ctx, address(t, "alice@example.org"), l.Code)
	requireStatus(t, err, 503, "not possible right now", "typed")

	require.NoError(t, e.Send(address(t, "alice@example.org")))
	_, err = box.queue[0](ctx)
	require.ErrorIs(t, err, errBroken, "composed again later")
	box.refuse = mail.ErrFull
	requireStatus(t, e.Send(address(t, "alice@example.org")), 503, "not possible right now", "full")

	unsure, box := newEmail(t, newDatabase(t), func(o *EmailOptions) {
		o.Blocked = func(context.Context, string) (bool, error) { return false, errBroken }
	})
	require.NoError(t, unsure.Send(address(t, "alice@example.org")))
	message, err := box.queue[0](ctx)
	require.ErrorIs(t, err, errBroken)
	require.Nil(t, message, "no mail while nobody knows who is blocked")
}

func TestEmailOptions(t *testing.T) {
	t.Parallel()
	good := EmailOptions{Store: broken{}, Mailer: &outbox{}, Secret: testSecret, Link: "http://localhost:8080/portal/"}
	_, err := NewEmail(good)
	require.NoError(t, err)
	for name, edit := range map[string]func(*EmailOptions){
		"no store":       func(o *EmailOptions) { o.Store = nil },
		"no mailer":      func(o *EmailOptions) { o.Mailer = nil },
		"no secret":      func(o *EmailOptions) { o.Secret = secret.Secret{} },
		"no link":        func(o *EmailOptions) { o.Link = "" },
		"relative link":  func(o *EmailOptions) { o.Link = "/portal/" },
		"script":         func(o *EmailOptions) { o.Link = "javascript://x/" },
		"link and query": func(o *EmailOptions) { o.Link = "https://ai.example.com/?a=b" },
	} {
		o := good
		edit(&o)
		_, err := NewEmail(o)
		require.Error(t, err, name)
	}
}

func FuzzRedeemLink(f *testing.F) {
	e, err := NewEmail(EmailOptions{Store: broken{}, Mailer: &outbox{}, Secret: testSecret, Link: "https://ai.example.com/portal/"})
	require.NoError(f, err)
	own, err := e.seal(emailState{ID: "id", Address: "alice@example.org"})
	require.NoError(f, err)
	f.Add("ABCDEFGH", "email:"+own)
	f.Add("abcd-efgh", own[:20])
	f.Add("", "")
	f.Fuzz(func(t *testing.T, code, state string) {
		if person, err := e.RedeemLink(context.Background(), code, state); err == nil {
			t.Errorf("%q, %q: %v", code, state, person)
		}
	})
}
