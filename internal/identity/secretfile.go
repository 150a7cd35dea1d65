package identity

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/financecommander/tollgate/internal/secret"
)

// MinSecretBytes is the least length of an HMAC secret: as long as the hash of
// HS256 (RFC 7518, 3.2).
const MinSecretBytes = 32

// generatedSecretBytes of randomness make a secret that also suits HS384.
const generatedSecretBytes = 48

// howToMakeSecret is the end of every message about a secret that is too short.
const howToMakeSecret = "openssl rand -base64 48" //nolint:gosec // a command, no secret

func checkSecret(key secret.Secret) error {
	if n := len(key.Reveal()); n < MinSecretBytes {
		return fmt.Errorf("the signing secret has %d bytes and needs at least %d; make one with: %s", n, MinSecretBytes, howToMakeSecret)
	}
	return nil
}

// LoadOrCreateSecret reads the signing secret kept in a file, or, when the file
// does not exist, generates one and keeps it there (mode 0600, in a directory of
// mode 0700 if that must be made too); created says which. Of several processes
// that start at once one creates the file and all agree. Space around the
// secret, as editors leave it, is not part of it.
//
// A file that others may read, or that holds under 32 bytes, is an error that
// says what to do.
func LoadOrCreateSecret(path string) (key secret.Secret, created bool, err error) {
	key, err = loadSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return secret.Secret{}, false, fmt.Errorf("make the directory for the signing secret: %w", err)
	}
	err = createSecret(path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return secret.Secret{}, false, fmt.Errorf("keep the signing secret: %w", err)
	}
	created = err == nil
	key, err = loadSecret(path)
	return key, created, err
}

func loadSecret(path string) (secret.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("read the signing secret: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return secret.Secret{}, fmt.Errorf("read the signing secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return secret.Secret{}, fmt.Errorf("the signing secret %s is not a regular file", path)
	}
	if readableByOthers(info.Mode()) {
		return secret.Secret{}, fmt.Errorf("the signing secret %s can be read or changed by other users (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	const enough = 64 << 10
	if info.Size() > enough {
		return secret.Secret{}, fmt.Errorf("the signing secret %s has %d bytes; that is not a secret", path, info.Size())
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("read the signing secret: %w", err)
	}
	key := secret.New(strings.TrimSpace(string(content)))
	if err := checkSecret(key); err != nil {
		return secret.Secret{}, fmt.Errorf("%s: %w, or delete the file to have one made", path, err)
	}
	return key, nil
}

// createSecret writes a new secret beside path and links it into place: the file
// appears whole or not at all, and a second creator gets [fs.ErrExist].
func createSecret(path string) error {
	random := make([]byte, generatedSecretBytes)
	_, _ = rand.Read(random)                                                     // never fails, see crypto/rand
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(random) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}
