// Package seal encrypts what leaves the gateway's hands but only the gateway may
// read: state of a provider that a client carries from one call to the next, and
// content that lies in the database.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/financecommander/tollgate/internal/secret"
)

// Box encrypts and authenticates with a key of its own. It is safe for
// concurrent use.
//
// The cipher is XChaCha20-Poly1305: its nonces are long enough to be drawn at
// random for as many messages as there will ever be under one secret, by any
// number of replicas.
type Box struct{ aead cipher.AEAD }

// New makes a box whose key is derived from the gateway's secret for the purpose
// that label names. Boxes of different labels cannot open each other's content.
func New(key secret.Secret, label string) (*Box, error) {
	if key.IsZero() {
		return nil, errors.New("seal: the secret is empty")
	}
	derived, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, label, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of %s: %w", label, err)
	}
	aead, err := chacha20poly1305.NewX(derived)
	if err != nil {
		return nil, fmt.Errorf("make the cipher of %s: %w", label, err)
	}
	return &Box{aead: aead}, nil
}

// Seal encrypts plain, compressed where that makes it shorter. It opens for the
// same owner only, who is not named in it.
func (b *Box) Seal(plain []byte, owner string) []byte {
	packed := pack(plain)
	defer packed.release()

	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(packed.data)+b.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return b.aead.Seal(nonce, nonce, packed.data, []byte(owner))
}

// Open reverses Seal. It says false for what this box did not seal for this
// owner, and for what is larger than limit bytes once opened.
func (b *Box) Open(sealed []byte, owner string, limit int) ([]byte, bool) {
	if len(sealed) < b.aead.NonceSize() {
		return nil, false
	}
	nonce, ciphertext := sealed[:b.aead.NonceSize()], sealed[b.aead.NonceSize():]
	packed, err := b.aead.Open(nil, nonce, ciphertext, []byte(owner))
	if err != nil {
		return nil, false
	}
	return unpack(packed, limit)
}
