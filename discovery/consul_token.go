package discovery

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// token is what authenticates at Consul: fixed, or from a file that is read
// again when it has changed.
type token struct {
	file string
	log  *slog.Logger

	mu      sync.Mutex
	value   string
	modTime time.Time
	size    int64
	problem string // why the file could not be read; the last token is kept
}

// newToken takes the token of the options, else that of the environment.
func newToken(o ConsulOptions, log *slog.Logger) *token {
	t := &token{file: o.TokenFile, value: o.Token, log: log}
	if t.value == "" && t.file == "" {
		if t.value = os.Getenv("CONSUL_HTTP_TOKEN"); t.value == "" {
			t.file = os.Getenv("CONSUL_HTTP_TOKEN_FILE")
		}
	}
	t.refresh(true)
	return t
}

// get is the token now, "" if there is none.
func (t *token) get() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value
}

// trouble says why the file cannot be read, or "".
func (t *token) trouble() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem
}

// refresh reads the file if it looks as if it had changed, or in any case, and
// reports whether the token is another one now.
func (t *token) refresh(always bool) (changed bool) {
	if t.file == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	value, err := t.read(always)
	if err != nil {
		if problem := err.Error(); problem != t.problem {
			t.problem = problem
			t.log.Error("the token for Consul cannot be read; the last one is used", "file", t.file, "error", problem)
		}
		return false
	}
	if t.problem != "" {
		t.log.Info("the token for Consul can be read again", "file", t.file)
	}
	t.problem = ""
	changed = value != t.value
	t.value = value
	return changed
}

func (t *token) read(always bool) (string, error) {
	info, err := os.Stat(t.file)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	if !always && t.problem == "" && info.ModTime().Equal(t.modTime) && info.Size() == t.size {
		return t.value, nil
	}
	if info.Size() > 4096 {
		return "", fmt.Errorf("token_file %s has %d bytes, which is no token", t.file, info.Size())
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return "", fmt.Errorf("token_file: %w", err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" || strings.ContainsFunc(value, notInToken) {
		return "", fmt.Errorf("token_file %s has no token: it is empty or has more than one word in it", t.file)
	}
	t.modTime, t.size = info.ModTime(), info.Size()
	return value, nil
}

// notInToken reports what may not be in a token, since it may not be in a header.
func notInToken(r rune) bool { return r <= ' ' || r >= 0x7f }
