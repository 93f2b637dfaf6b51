package admin

import "sync"

// memory is what outlives a change of the options: it belongs to all servers that
// come of one another. The history goes on while one of them serves.
type memory struct {
	control Control
	audit   audit

	mu      sync.Mutex
	servers int
	history *History // nil before the first has served
}

func newMemory(c Control) *memory { return &memory{control: c} }

// join is for a server that begins to serve.
func (m *memory) join() *History {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.servers == 0 {
		m.history = NewHistory(m.control.Sample)
	}
	m.servers++
	return m.history
}

// leave is for one that has ended.
func (m *memory) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.servers--; m.servers == 0 {
		m.history.Close()
	}
}

// recorded is for those that have joined.
func (m *memory) recorded() *History {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.history
}
