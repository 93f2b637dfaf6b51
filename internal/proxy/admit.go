package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"steelyard/internal/metrics"
)

// admission counts the connections of clients of all listeners, and those that are
// not let in. It is asked once for each connection, never for a request.
type admission struct {
	mu    sync.Mutex
	freed sync.Cond // a connection has ended, or limits have changed
	open  int       // connections of all listeners
	most  int       // of them; 0: no bound
	pages [refusals][2][]byte
}

// seats is what admission knows of one listener. It belongs to admission.mu.
type seats struct {
	open int
	// by counts the connections of each address, of IPv6 of each /64: that is what
	// one customer gets.
	by map[netip.Addr]int
}

// refusal is why a connection is not let in.
type refusal uint8

// Why connections are not let in.
const (
	admitted refusal = iota
	refusedFiles
	refusedFull
	refusedClient
	refusedHandshake
	refusals
)

// refusalInfo has the label of the metric, which is the limit that was reached, and
// the cause that the client is told.
var refusalInfo = [refusals]struct {
	reason string
	cause  Cause
}{
	refusedFiles:     {"open_files", CauseTooManyConns},
	refusedFull:      {"max_connections", CauseTooManyConns},
	refusedClient:    {"max_connections_per_client", CauseClientTooMany},
	refusedHandshake: {"max_handshakes", CauseTooManyConns},
}

// refusalsPerSecond bounds the log lines of one listener about connections that
// were not let in.
const refusalsPerSecond = 1

func (a *admission) init() {
	a.freed.L = &a.mu
	for why := admitted + 1; why < refusals; why++ {
		cause := refusalInfo[why].cause
		a.pages[why] = [2][]byte{refusalPage(cause, true), refusalPage(cause, false)}
	}
}

// MostConnections bounds the connections of clients of all listeners together; 0:
// no bound.
func (p *Proxy) MostConnections(n int) {
	a := &p.admission
	a.mu.Lock()
	a.most = n
	a.freed.Broadcast()
	a.mu.Unlock()
}

// ConnectionLimit is how many connections of clients the listener lets in at once; 0:
// no limit.
func (l *Listener) ConnectionLimit() int {
	a := &l.proxy.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	return l.mostSeats(l.limits.Load())
}

// mostSeats is the closer of both bounds. a.mu is held, as in all that follows.
func (l *Listener) mostSeats(lim *Limits) int {
	most := l.proxy.admission.most
	if n := lim.MaxConnections; n > 0 && (most == 0 || n < most) {
		return n
	}
	return most
}

// mostOfClient is how many connections one client may have; 0: no limit.
func (l *Listener) mostOfClient(lim *Limits) int {
	switch most := l.mostSeats(lim); {
	case lim.MaxPerClient > 0:
		return lim.MaxPerClient
	case most > 0:
		return (most + 1) / 2
	}
	return 0
}

// full reports which bound keeps everybody out.
func (l *Listener) full(lim *Limits) refusal {
	a := &l.proxy.admission
	switch {
	case lim.MaxConnections > 0 && l.seats.open >= lim.MaxConnections:
		return refusedFull
	case a.most > 0 && a.open >= a.most:
		return refusedFiles
	}
	return admitted
}

// awaitRoom returns when the next connection may be accepted. With when_full: wait
// that is when there is room for it; until then clients wait in the kernel.
func (l *Listener) awaitRoom() {
	a := &l.proxy.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	for told := false; ; {
		lim := l.limits.Load()
		why := l.full(lim)
		if !lim.WaitWhenFull || why == admitted || l.draining.Load() {
			return
		}
		if told {
			a.freed.Wait()
			continue
		}
		told = true
		open := l.seats.open
		a.mu.Unlock()
		if ok, _ := l.told.allow(refusalsPerSecond); ok {
			slog.Warn("as many connections as there may be; more wait in the kernel until one ends",
				"listener", l.Name(), "limit", refusalInfo[why].reason, "connections", open)
		}
		a.mu.Lock()
	}
}

// enter counts a connection in and returns as whom, or says why it may not come in.
func (l *Listener) enter(nc net.Conn) (netip.Addr, refusal) {
	who, exempt := l.clientOf(nc)
	a := &l.proxy.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	lim := l.limits.Load()
	if why := l.full(lim); why != admitted && (!lim.WaitWhenFull || l.draining.Load()) {
		return who, why
	}
	if most := l.mostOfClient(lim); most > 0 && who.IsValid() && !exempt && l.seats.by[who] >= most {
		return who, refusedClient
	}
	a.open++
	l.seats.open++
	if who.IsValid() {
		if l.seats.by == nil {
			l.seats.by = map[netip.Addr]int{}
		}
		l.seats.by[who]++
	}
	return who, admitted
}

// leave counts a connection out that came in as who.
func (l *Listener) leave(who netip.Addr) {
	a := &l.proxy.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	l.seats.open--
	if n := l.seats.by[who]; n > 1 {
		l.seats.by[who] = n - 1
	} else {
		delete(l.seats.by, who)
	}
	a.freed.Broadcast()
}

// reconsider lets those who wait for room look again.
func (l *Listener) reconsider() {
	a := &l.proxy.admission
	a.mu.Lock()
	a.freed.Broadcast()
	a.mu.Unlock()
}

// clientOf is whom a connection counts for, by the peer of its socket, and whether
// that is a proxy that brings the connections of many. There is nobody to count for
// on a unix socket.
func (l *Listener) clientOf(nc net.Conn) (who netip.Addr, exempt bool) {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	who = a.AddrPort().Addr().Unmap().WithZone("")
	exempt = contains(l.proxy.Generation().Trusted, who) || contains(l.limits.Load().ProxyFrom, who)
	return seatOf(who), exempt
}

// seatOf is as whom an address is counted.
func seatOf(who netip.Addr) netip.Addr {
	if who.Is6() {
		p, _ := who.Prefix(64)
		who = p.Addr()
	}
	return who
}

// reseat counts a connection that came in as was for the client that it turns out to
// be of. If that has too many already it keeps its seat and has to go.
func (l *Listener) reseat(was, client netip.Addr) (netip.Addr, refusal) {
	who := seatOf(client)
	exempt := contains(l.proxy.Generation().Trusted, client)
	a := &l.proxy.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if most := l.mostOfClient(l.limits.Load()); most > 0 && !exempt && l.seats.by[who] >= most {
		return was, refusedClient
	}
	if n := l.seats.by[was]; n > 1 {
		l.seats.by[was] = n - 1
	} else {
		delete(l.seats.by, was)
	}
	if l.seats.by == nil {
		l.seats.by = map[netip.Addr]int{}
	}
	l.seats.by[who]++
	return who, admitted
}

// admit lets a connection in; nil: it could not come in and has been dealt with.
func (l *Listener) admit(nc net.Conn) *clientConn {
	who, why := l.enter(nc)
	if why != admitted {
		l.refuse(nc, why)
		return nil
	}
	c, err := newClientConn(nc, l)
	if err != nil {
		l.leave(who)
		_ = nc.Close()
		return nil
	}
	c.seat = who
	l.add(c)
	return c
}

// Rejections counts the connections that were not let in, by the limit that was
// reached.
func (l *Listener) Rejections() []metrics.CauseCount {
	counts := make([]metrics.CauseCount, 0, refusals-1)
	for why := admitted + 1; why < refusals; why++ {
		counts = append(counts, metrics.CauseCount{Cause: refusalInfo[why].reason, Count: l.rejected[why].Load()})
	}
	return counts
}
