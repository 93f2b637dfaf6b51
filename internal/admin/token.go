package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"steelyard/config"
)

// tokens are what a request may show. Those of a file are read again when it
// changes; while it cannot be read, the last ones hold.
type tokens struct {
	fixed [sha256.Size]byte
	has   bool // there is a fixed one
	path  string

	mu       sync.Mutex
	fromFile [sha256.Size]byte
	seen     fileState
	broken   bool // the file was wrong when it was read last
}

// fileState tells one content of a file from another.
type fileState struct {
	modified time.Time
	size     int64
}

// newTokens returns nil when the options name none.
func newTokens(token, path string) (*tokens, error) {
	if token == "" && path == "" {
		return nil, nil
	}
	t := &tokens{path: path}
	if token != "" {
		t.fixed, t.has = sha256.Sum256([]byte(token)), true
	}
	if path == "" {
		return t, nil
	}
	var err error
	t.fromFile, t.seen, err = readToken(path)
	return t, err
}

// readToken reads the first line of a file.
func readToken(path string) (sum [sha256.Size]byte, state fileState, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return sum, state, fmt.Errorf("the token: %w", err)
	}
	state = fileState{info.ModTime(), info.Size()}
	if info.Size() > maxBody {
		return sum, state, fmt.Errorf("the token: %s has %d bytes and is hardly a token", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return sum, state, fmt.Errorf("the token: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if line = strings.TrimSpace(line); len(line) < config.MinToken {
		return sum, state, fmt.Errorf("the token: %s has %d characters, at least %d are needed (openssl rand -hex 32 makes a good one)", path, len(line), config.MinToken)
	}
	return sha256.Sum256([]byte(line)), state, nil
}

// match says which token was shown: "token", "token_file", or "" for none of
// them. It takes as long for a wrong one as for a right one.
func (t *tokens) match(shown string) string {
	sum := sha256.Sum256([]byte(shown))
	name := ""
	if t.path != "" {
		file := t.current()
		if subtle.ConstantTimeCompare(sum[:], file[:]) == 1 {
			name = "token_file"
		}
	}
	if subtle.ConstantTimeCompare(sum[:], t.fixed[:]) == 1 && t.has {
		name = "token"
	}
	return name
}

// current is the sum of the token that the file has now.
func (t *tokens) current() [sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err == nil && t.seen == (fileState{info.ModTime(), info.Size()}) {
		return t.fromFile
	}
	sum, state, err := readToken(t.path)
	switch {
	case err == nil:
		t.fromFile, t.broken = sum, false
		slog.Info("the admin token was read anew", "file", t.path)
	case !t.broken:
		t.broken = true
		slog.Error("the admin token cannot be read; the one before still holds", "error", err)
	}
	t.seen = state
	return t.fromFile
}
