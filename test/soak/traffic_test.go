package soak_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"steelyard/test/harness"
	"steelyard/test/load"
)

// kind is one kind of traffic: so many clients who do it again and again.
type kind struct {
	name    string
	clients int
	pause   time.Duration // between two
	do      func(tr *traffic, id string) (failed, wrong string)
}

const lines = 20_000 // of a transfer: some 200 to 400 KB

var kinds = []kind{
	{"GET", 8, 40 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) {
		a := load.Ask(tr.client, tr.url, id, false)
		return a.Error, a.Wrong
	}},
	{"POST", 4, 40 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) {
		a := load.Ask(tr.client, tr.url, id, true)
		if a.Well() {
			tr.answered(id)
		}
		return a.Error, a.Wrong
	}},
	{"upload", 2, 300 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) { return load.Upload(tr.client, tr.url, id, lines) }},
	{"download", 2, 300 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) {
		return load.Download(tr.client, tr.url, id, lines, 0)
	}},
	{"slow download", 3, 100 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) {
		return load.Download(tr.client, tr.url, id, 10*lines, 40*time.Millisecond)
	}},
	{"events", 4, 50 * time.Millisecond, func(tr *traffic, id string) (failed, wrong string) {
		return load.Events(tr.client, tr.url, id, 40, 50*time.Millisecond)
	}},
	{"WebSocket", 4, 50 * time.Millisecond, webSocket},
	{"client that leaves", 3, 50 * time.Millisecond, leave},
	{"client that sends slowly", 3, 50 * time.Millisecond, trickle},
	{"new connection", 2, 50 * time.Millisecond, fresh},
}

// webSocket has twenty messages come back.
func webSocket(tr *traffic, id string) (failed, wrong string) {
	c, err := harness.Connect(tr.address)
	if err != nil {
		return "connect: " + err.Error(), ""
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		return "no answer", ""
	}
	m, err := c.Receive(http.MethodGet)
	switch {
	case err != nil:
		return "no answer", ""
	case m.Value("X-Steelyard-Cause") != "":
		return fmt.Sprintf("%d %s", m.Status(), m.Value("X-Steelyard-Cause")), ""
	case m.Status() != 101:
		return "", m.First
	}
	for n := range 20 {
		text := strings.Repeat(fmt.Sprintf("%s %d ", id, n), 1+n)
		if c.WriteFrame(harness.OpText, []byte(text)) != nil {
			return "cut short", ""
		}
		switch op, got, err := c.ReadFrame(); {
		case err != nil:
			return "cut short", ""
		case op == harness.OpClose: // The backend is drained.
			return "closed in good order", ""
		case string(got) != text:
			return "", fmt.Sprintf("message %q", got)
		}
		time.Sleep(20 * time.Millisecond) // As people type.
	}
	if c.WriteClose(1000, "") != nil {
		return "cut short", ""
	}
	if op, _, err := c.ReadFrame(); err == nil && op != harness.OpClose {
		return "", fmt.Sprintf("frame %d after the close", op)
	}
	return "", ""
}

// leave goes away in the middle of a download.
func leave(tr *traffic, id string) (failed, wrong string) {
	c, err := harness.Connect(tr.address)
	if err != nil {
		return "connect: " + err.Error(), ""
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET /download?lines=1000000 HTTP/1.1\r\nHost: a\r\nX-Id: %s\r\n\r\n", id); err != nil {
		return "no answer", ""
	}
	if m, err := c.Head(); err != nil {
		return "no answer", ""
	} else if m.Status() == http.StatusOK {
		if _, err := io.CopyN(io.Discard, c.R, 64<<10); err != nil {
			return "cut short", ""
		}
	}
	return "", ""
}

// trickle sends its head in pieces.
func trickle(tr *traffic, id string) (failed, wrong string) {
	head := "POST /upload HTTP/1.1\r\nHost: a\r\nX-Id: " + id + "\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
	c, err := harness.Connect(tr.address)
	if err != nil {
		return "connect: " + err.Error(), ""
	}
	defer c.Close()
	for piece := range slices.Chunk([]byte(head), 20) {
		if _, err := c.Write(piece); err != nil {
			return "no answer", ""
		}
		time.Sleep(30 * time.Millisecond)
	}
	m, err := c.Receive(http.MethodPost)
	switch {
	case err != nil:
		return "no answer", ""
	case m.Value("X-Steelyard-Cause") != "":
		return fmt.Sprintf("%d %s", m.Status(), m.Value("X-Steelyard-Cause")), ""
	case m.Status() != http.StatusOK || m.Value("X-Id") != id || !strings.HasPrefix(string(m.Body), "2cf24dba5fb0a30e26e8"):
		return "", fmt.Sprintf("%s %s %.60q", m.First, m.Value("X-Id"), m.Body)
	}
	return "", ""
}

// fresh asks on a connection of its own, which it resets.
func fresh(tr *traffic, id string) (failed, wrong string) {
	c := load.Client(time.Minute)
	defer c.CloseIdleConnections()
	a := load.Ask(c, tr.url, id, false)
	return a.Error, a.Wrong
}

// traffic is all of them at once, and what became of it.
type traffic struct {
	client       *http.Client
	url, address string
	done         chan struct{}
	once         sync.Once // closes done
	wg           sync.WaitGroup

	mu     sync.Mutex
	counts map[string]int // by kind
	errors map[string]int // by kind and error
	wrong  []string
	posts  []string // ids of those that were answered well
}

func begin(t *testing.T, s *harness.Steelyard) *traffic {
	t.Helper()
	tr := &traffic{client: load.Client(90 * time.Second), url: s.URL, address: s.Address, done: make(chan struct{}),
		counts: map[string]int{}, errors: map[string]int{}}
	for k := range kinds {
		for n := range kinds[k].clients {
			tr.wg.Go(func() { tr.client1(&kinds[k], fmt.Sprintf("%d.%d", k, n)) })
		}
	}
	t.Cleanup(tr.end)
	return tr
}

// client1 is one client of a kind.
func (tr *traffic) client1(k *kind, name string) {
	pause := time.NewTicker(k.pause)
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-tr.done:
			return
		case <-pause.C:
		}
		id := fmt.Sprintf("%s.%d", name, n)
		failed, wrong := k.do(tr, id)
		tr.mu.Lock()
		tr.counts[k.name]++
		if failed != "" {
			tr.errors[k.name+": "+failed]++
		}
		if wrong != "" {
			tr.wrong = append(tr.wrong, k.name+" "+id+": "+wrong)
		}
		tr.mu.Unlock()
	}
}

func (tr *traffic) answered(id string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.posts = append(tr.posts, id)
}

// end stops all clients and waits for them.
func (tr *traffic) end() {
	tr.once.Do(func() { close(tr.done) })
	tr.wg.Wait()
	tr.client.CloseIdleConnections()
}

// sums are how many requests there were so far, how many failed, and how many
// were answered wrongly.
func (tr *traffic) sums() (requests, failed, wrong int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, n := range tr.counts {
		requests += n
	}
	for _, n := range tr.errors {
		failed += n
	}
	return requests, failed, len(tr.wrong)
}

// table lists counts, sorted.
func table(counts map[string]int) string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d × %s", counts[what], what))
	}
	return strings.Join(all, "; ")
}
