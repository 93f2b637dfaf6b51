// Package auth verifies names and passwords against hashes that are made to be
// slow, without paying for that with each request and without letting anybody
// make others pay.
//
// It knows nothing of connections or of what a request is for.
package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a hash may cost at most: about a second, and 256 MiB for each of the few
// that are verified at a time.
const (
	maxBcrypt  = 14
	maxMemory  = 256 << 10 // in KiB
	maxTime    = 16
	maxThreads = 16
)

// What HashPassword uses (OWASP's Password Storage Cheat Sheet).
const (
	useMemory = 19 << 10
	useTime   = 2
	useSalt   = 16
	useKey    = 32
)

// maxPassword is the most bytes of a password; bcrypt does not look further.
const maxPassword = 72

// Make is the command that makes a hash, for messages.
const Make = "steelyard hash-password"

// Hash is a password that was hashed with bcrypt or argon2id.
type Hash struct {
	bcrypt  []byte // nil: it is argon2id
	time    uint32
	memory  uint32
	threads uint8
	salt    []byte
	key     []byte
}

// ParseHash reads $2y$… or $argon2id$…, and says of others what is wrong.
func ParseHash(s string) (*Hash, error) {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	}
	what := "is neither a bcrypt nor an argon2id hash"
	for prefix, name := range map[string]string{
		"$apr1$": "is MD5 (apr1), which is guessed by the billion", "$1$": "is MD5, which is guessed by the billion", "{SHA}": "is SHA-1 without salt, which is guessed by the billion",
		"$5$": "is SHA-crypt, which is fast to guess", "$6$": "is SHA-crypt, which is fast to guess", "$argon2i$": "is argon2i, not argon2id", "$argon2d$": "is argon2d, not argon2id",
	} {
		if strings.HasPrefix(s, prefix) {
			what = name
		}
	}
	return nil, fmt.Errorf("auth: the hash %s; %s makes a right one", what, Make)
}

func parseBcrypt(s string) (*Hash, error) {
	cost, err := bcrypt.Cost([]byte(s))
	switch {
	case err != nil || len(s) != 60:
		return nil, fmt.Errorf("auth: the bcrypt hash is not whole: it has %d characters in place of 60, or is damaged; %s makes a right one", len(s), Make)
	case cost > maxBcrypt:
		return nil, fmt.Errorf("auth: the bcrypt hash has cost %d, which takes seconds for each login; at most %d is allowed", cost, maxBcrypt)
	}
	return &Hash{bcrypt: []byte(s)}, nil
}

// parseArgon reads $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func parseArgon(s string) (*Hash, error) {
	damaged := fmt.Errorf("auth: the argon2id hash is damaged; it is $argon2id$v=19$m=…,t=…,p=…$salt$key, as %s makes it", Make)
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return nil, damaged
	}
	h := &Hash{}
	version := 0
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return nil, damaged
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return nil, damaged
	}
	var errSalt, errKey error
	h.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	h.key, errKey = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case errors.Join(errSalt, errKey) != nil, len(h.salt) < 8, len(h.salt) > 64, len(h.key) < 16, len(h.key) > 64:
		return nil, damaged
	case h.memory < 8 || h.time < 1 || h.threads < 1:
		return nil, damaged
	case h.memory > maxMemory || h.time > maxTime || h.threads > maxThreads:
		return nil, fmt.Errorf("auth: the argon2id hash costs m=%d,t=%d,p=%d; at most m=%d,t=%d,p=%d are allowed", h.memory, h.time, h.threads, maxMemory, maxTime, maxThreads)
	}
	return h, nil
}

// Matches reports whether the password is the right one. It takes its time.
func (h *Hash) Matches(password []byte) bool {
	if h.bcrypt != nil {
		return bcrypt.CompareHashAndPassword(h.bcrypt, password) == nil
	}
	key := argon2.IDKey(password, h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// HashPassword hashes a password, with bcrypt of a cost or, at cost 0, with
// argon2id.
func HashPassword(password []byte, cost int) (string, error) {
	switch {
	case len(password) == 0:
		return "", errors.New("the password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("the password has %d bytes; at most %d are allowed", len(password), maxPassword)
	case !printable(password):
		return "", errors.New("the password has control characters, which cannot be sent")
	case cost != 0 && (cost < bcrypt.MinCost || cost > maxBcrypt):
		return "", fmt.Errorf("the cost of bcrypt is %d to %d", bcrypt.MinCost, maxBcrypt)
	case cost != 0:
		hash, err := bcrypt.GenerateFromPassword(password, cost)
		return string(hash), err
	}
	salt := make([]byte, useSalt)
	_, _ = rand.Read(salt) // it cannot fail
	key := argon2.IDKey(password, salt, useTime, useMemory, 1, useKey)
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, useMemory, useTime, text(salt), text(key)), nil
}

// printable reports whether b has no control characters (RFC 7617, section 2).
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
