package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// logged catches what is logged at error until the test ends.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func catchErrors(t *testing.T) *logged {
	t.Helper()
	l := &logged{}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelError})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return l
}

// Write implements io.Writer.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAPanicIsToldAndSurvived: who called hears of it, the log says where it was,
// and the next call is answered.
func TestAPanicIsToldAndSurvived(t *testing.T) {
	log := catchErrors(t)
	s, address := newServer(t)
	s.control.(*fakeControl).panics.Store(true)
	status, text := call(t, "GET", "http://"+address+"/api/v1/errors", "", nil)
	var f struct{ Error, Cure string }
	if err := json.Unmarshal([]byte(text), &f); err != nil || status != 500 || !strings.Contains(f.Error, "its log says where") || f.Cure == "" {
		t.Errorf("%d %s %v", status, text, err)
	}
	if strings.Contains(text, "the error log is broken") {
		t.Errorf("the answer shows the inside: %s", text)
	}
	for _, want := range []string{"level=ERROR", "path=/api/v1/errors", "the error log is broken", "fakes_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	s.control.(*fakeControl).panics.Store(false)
	if status, text := call(t, "GET", "http://"+address+"/api/v1/errors", "", nil); status != 200 {
		t.Errorf("the next call: %d %s", status, text)
	}
}

// TestAPanicCutsWhatHasBegun: half an answer is not taken for a whole one, and
// what handlers abort themselves is no error.
func TestAPanicCutsWhatHasBegun(t *testing.T) {
	log := catchErrors(t)
	s, _ := newServer(t)
	var with any
	server := httptest.NewServer(s.guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("half of it ", 1000))
		panic(with)
	})))
	defer server.Close()
	for _, with = range []any{errors.New("in the middle"), http.ErrAbortHandler} {
		res, err := http.Get(server.URL)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%v: half of the answer looks whole", with)
		}
	}
	if n := strings.Count(log.String(), "failed inside"); n != 1 || !strings.Contains(log.String(), "in the middle") {
		t.Errorf("%d panics are in the log:\n%s", n, log)
	}
}
