package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says who may come in by HTTP's Basic authentication (RFC 7617).
type Options struct {
	// Realm is what browsers show; default Restricted.
	Realm string
	// Users have hashes by name; File has more of them, one "name:hash" a line. It
	// is read again when it changes.
	Users map[string]string
	File  string
	// Forward lets the backend have the Authorization header; default false.
	Forward bool
}

// Validate reports everything that is wrong but for what stands in the file.
func (o Options) Validate() error {
	var errs []error
	if !printable([]byte(o.Realm)) || strings.ContainsAny(o.Realm, `"\`) {
		errs = append(errs, errors.New("auth: realm has quotes, backslashes or control characters"))
	}
	if len(o.Users) == 0 && o.File == "" {
		errs = append(errs, errors.New("auth: there are neither users nor a file, so nobody could come in"))
	}
	_, err := newUsers(o.Users, nil)
	return errors.Join(append(errs, err)...)
}

// Equal reports whether two options are the same.
func (o Options) Equal(p Options) bool {
	return o.Realm == p.Realm && o.File == p.File && o.Forward == p.Forward && maps.Equal(o.Users, p.Users)
}

// Verdict is what became of credentials.
type Verdict uint8

// The verdicts.
const (
	Wrong   Verdict = iota // name or password, or they cannot be read
	Missing                // there are none
	Busy                   // too many are being verified
	Right
)

const (
	lookAtFile   = time.Second
	keepRefusals = 10 * time.Second
	// maxEncoded is the most bytes of credentials: a name, a password, a colon.
	maxEncoded = (maxName + maxPassword + 1 + 2) / 3 * 4
)

// Basic verifies credentials. What was right is known again by a keyed hash, so
// that only the first request of a user pays for his password.
type Basic struct {
	opts  Options
	guard *Guard
	key   [32]byte // of this process alone
	sums  sync.Pool
	users atomic.Pointer[users]

	lookAt  atomic.Int64 // when the file is looked at next, on the clock of Verify
	reading sync.Mutex
	seen    os.FileInfo
	broken  bool // the file was wrong when it was read last
}

type sum [sha256.Size]byte

// summer makes sums without garbage.
type summer struct {
	mac hash.Hash
	buf []byte
	out sum
}

// NewBasic makes one of valid options. The error says what is wrong with the file.
func NewBasic(o Options, g *Guard) (*Basic, error) {
	b := &Basic{opts: o, guard: g}
	_, _ = rand.Read(b.key[:]) // it cannot fail
	b.sums.New = func() any { return &summer{mac: hmac.New(sha256.New, b.key[:])} }
	return b, b.read()
}

// Options are those it was made with.
func (b *Basic) Options() Options { return b.opts }

// Challenge is the value of WWW-Authenticate.
func (b *Basic) Challenge() string {
	return fmt.Sprintf(`Basic realm="%s", charset="UTF-8"`, b.opts.Realm)
}

// read takes over what the file has now.
func (b *Basic) read() error {
	var file []line
	if b.opts.File != "" {
		var err error
		var seen os.FileInfo
		file, seen, err = readFile(b.opts.File)
		b.seen = seen
		if err != nil {
			return err
		}
	}
	u, err := newUsers(b.opts.Users, file)
	if err != nil {
		return err
	}
	b.users.Store(u)
	return nil
}

// current is the users of now: once a second somebody looks whether the file has
// changed. While it is wrong, those before hold.
func (b *Basic) current(at time.Duration) *users {
	due := b.lookAt.Load()
	if b.opts.File == "" || int64(at) < due || !b.lookAt.CompareAndSwap(due, int64(at+lookAtFile)) || !b.reading.TryLock() {
		return b.users.Load()
	}
	defer b.reading.Unlock()
	now, err := os.Stat(b.opts.File)
	if err == nil && unchanged(b.seen, now) {
		return b.users.Load()
	}
	switch err = b.read(); {
	case err == nil:
		b.broken = false
		slog.Info("the users were read anew", "file", b.opts.File, "users", len(b.users.Load().byName))
	case !b.broken:
		b.broken = true
		slog.Error("the users cannot be read; those before still hold", "error", err)
	}
	return b.users.Load()
}

// Verify says who shows the value of an Authorization header, nil if there is
// none, at a time on any monotonic clock. gone is asked while it waits for its
// turn, and may end that.
func (b *Basic) Verify(header []byte, at time.Duration, gone func() bool) (name string, v Verdict) {
	if len(header) == 0 {
		return "", Missing
	}
	var space [maxEncoded / 4 * 3]byte
	shown, password, ok := decode(space[:], header)
	if !ok {
		return "", Wrong
	}
	all := b.current(at)
	u := all.byName[string(shown)]
	s := b.sums.Get().(*summer)
	s.of(shown, password)
	id := s.out
	b.sums.Put(s)
	place := &all.refused[binary.LittleEndian.Uint16(id[:])%uint16(len(all.refused))]
	if u.knows(&id) {
		return u.name, Right
	}
	if r := place.Load(); r != nil && r.until > at && subtle.ConstantTimeCompare(r.sum[:], id[:]) == 1 {
		return "", Wrong
	}
	return b.verify(all, u, password, &id, place, at, gone)
}

// verify is Verify for what is not known.
func (b *Basic) verify(all *users, u *user, password []byte, id *sum, place *atomic.Pointer[refusal], at time.Duration, gone func() bool) (string, Verdict) {
	if all.anybody == nil {
		return "", Wrong // there is nobody
	}
	if !b.guard.enter(gone) {
		return "", Busy
	}
	defer b.guard.leave()
	if u.knows(id) {
		return u.name, Right // somebody was quicker
	}
	tested := u
	if tested == nil {
		tested = all.anybody // so that it takes as long
	}
	if !tested.hash.Matches(bytes.Clone(password)) || u == nil {
		place.Store(&refusal{*id, at + keepRefusals})
		return "", Wrong
	}
	kept := *id
	u.verified.Store(&kept)
	return u.name, Right
}

// knows reports whether a sum is that of the user's password.
func (u *user) knows(id *sum) bool {
	if u == nil {
		return false
	}
	known := u.verified.Load()
	return known != nil && subtle.ConstantTimeCompare(known[:], id[:]) == 1
}

// of makes the sum of a name and a password.
func (s *summer) of(name, password []byte) {
	s.buf = append(s.buf[:0], byte(len(name)))
	s.buf = append(append(s.buf, name...), password...)
	s.mac.Reset()
	s.mac.Write(s.buf)
	clear(s.buf)
	s.mac.Sum(s.out[:0])
}

// strictBase64 has one way to write a text.
var strictBase64 = base64.StdEncoding.Strict()

// decode reads "Basic" and the base64 of name:password into space.
func decode(space, header []byte) (name, password []byte, ok bool) {
	const scheme = "basic "
	if len(header) <= len(scheme) || !bytes.EqualFold(header[:len(scheme)], []byte(scheme)) {
		return nil, nil, false
	}
	encoded := bytes.TrimLeft(header[len(scheme):], " ")
	if len(encoded) > maxEncoded {
		return nil, nil, false
	}
	n, err := strictBase64.Decode(space, encoded)
	if err != nil || !printable(space[:n]) {
		return nil, nil, false
	}
	name, password, ok = bytes.Cut(space[:n], []byte(":"))
	return name, password, ok && len(name) <= maxName && len(password) <= maxPassword
}
