package auth

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxName = 255     // bytes of a name
	maxFile = 4 << 20 // bytes of a file of users
)

// user is one who has a password. What was verified is kept with him: there is
// one right password, so this is all there can be.
type user struct {
	name     string
	hash     *Hash
	verified atomic.Pointer[sum] // of the right password; nil: nobody has shown it yet
}

// users are those of one moment. What was refused lately is kept with them, since
// it may be right for those who come after.
type users struct {
	byName  map[string]*user
	anybody *user // whose hash is verified for names that nobody has
	refused [512]atomic.Pointer[refusal]
}

// refusal is a name and a password that were wrong.
type refusal struct {
	sum   sum
	until time.Duration
}

// CheckName says why a text can be no name.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, ':') || !printable([]byte(name)) {
		return fmt.Errorf("auth: %q is not a name: 1 to %d bytes without a colon and control characters", name, maxName)
	}
	return nil
}

// newUsers makes users of names and hashes; from says where each of a file
// stands.
func newUsers(fixed map[string]string, file []line) (*users, error) {
	u := &users{byName: make(map[string]*user, len(fixed)+len(file))}
	var errs []error
	for name, hash := range fixed {
		errs = append(errs, u.add(name, hash))
	}
	for _, l := range file {
		if u.byName[l.name] != nil {
			errs = append(errs, fmt.Errorf("%s: %q is there already", l.at, l.name))
			continue
		}
		if err := u.add(l.name, l.hash); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.at, err))
		}
	}
	for _, one := range u.byName {
		if u.anybody == nil || cmp.Compare(one.name, u.anybody.name) < 0 {
			u.anybody = one
		}
	}
	return u, errors.Join(errs...)
}

func (u *users) add(name, hash string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	h, err := ParseHash(hash)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	u.byName[name] = &user{name: name, hash: h}
	return nil
}

// line is a line of a file of users.
type line struct{ at, name, hash string }

// readFile reads lines "name:hash", as htpasswd writes them; empty ones and those
// that begin with # are left out.
func readFile(path string) (lines []line, seen os.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("the users: %w", err)
	}
	defer f.Close()
	if seen, err = f.Stat(); err != nil {
		return nil, nil, fmt.Errorf("the users: %w", err)
	}
	if seen.Size() > maxFile {
		return nil, seen, fmt.Errorf("the users: %s has %d bytes, at most %d are read", path, seen.Size(), maxFile)
	}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		at := fmt.Sprintf("%s:%d", path, n)
		name, hash, ok := strings.Cut(text, ":")
		if !ok {
			return nil, seen, fmt.Errorf("the users: %s: there is no colon between a name and its hash", at)
		}
		lines = append(lines, line{at, name, hash})
	}
	if err := sc.Err(); err != nil {
		return nil, seen, fmt.Errorf("the users: %s: %w", path, err)
	}
	return slices.Clip(lines), seen, nil
}

// unchanged reports whether a file is as it was when it was read.
func unchanged(seen, now os.FileInfo) bool {
	return seen != nil && os.SameFile(seen, now) && seen.Size() == now.Size() && seen.ModTime().Equal(now.ModTime())
}
