package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steelyard/internal/upgrade"
)

// TestHandOver: who has handed over leaves the registration in Consul, the file of
// a unix socket and those who wait in the backlog to the next process; who could
// not, goes on.
func TestHandOver(t *testing.T) {
	agent := newRegistry(t)
	path := filepath.Join(t.TempDir(), "front")
	address, admin := freeAddress(t), freeAddress(t)
	a, err := Start(parse(t, fmt.Sprintf(`
listeners: {web: "%s", socket: "unix:%s"}
routes: [{respond: 204}]
pools: {}
admin: "%s"
consul: {address: "%s", register: true}
`, address, path, admin, agent.Listener.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	agent.awaitRegistration(a)
	no := errors.New("no")
	if err := a.HandOver(func(context.Context, []upgrade.Socket) (int, error) { return 0, no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if status, _ := get(t, "http://"+address); status != http.StatusNoContent || !a.Well() {
		t.Errorf("after a failed upgrade: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
	var next, nextAdmin net.Listener
	err = a.HandOver(func(_ context.Context, all []upgrade.Socket) (int, error) {
		if len(all) != 3 || all[0].Lent {
			t.Errorf("handed over: %+v", all)
		}
		var err, adminErr error
		next, err = duplicate(all[0].Listener)
		nextAdmin, adminErr = duplicate(all[2].Listener)
		return 7, errors.Join(err, adminErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	defer nextAdmin.Close()
	acceptedBy(t, nextAdmin) // at once, since orders are for the other from now on
	if err := a.HandOver(nil); !errors.Is(err, ErrSucceeded) {
		t.Errorf("a second time: %v", err)
	}
	if err := a.replace(a.now().cfg, ""); !errors.Is(err, ErrSucceeded) || !strings.Contains(err.Error(), "process 7") {
		t.Errorf("a reload behind it: %v", err)
	}
	a.Stop()
	if agent.left.Load() {
		t.Error("the registration was removed from Consul")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the file of the socket was removed:", err)
	}
	acceptedBy(t, next) // nobody accepted until now, but the socket is there
}

// acceptedBy connects to a socket that might be somebody else's as well.
func acceptedBy(t *testing.T, ln net.Listener) {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal("somebody else has accepted: ", err)
	}
	accepted.Close()
}

// TestAReloadDuringAnUpgrade waits: it happens when the upgrade fails, and is for the
// new process when it does not.
func TestAReloadDuringAnUpgrade(t *testing.T) {
	a, _ := reloadable(t, fmt.Sprintf("listeners: {web: %q}\nroutes: [{respond: 204}]\n", freeAddress(t)))
	defer a.Stop()
	for _, fails := range []bool{true, false} {
		reloaded := make(chan error, 1)
		err := a.HandOver(func(context.Context, []upgrade.Socket) (int, error) {
			go func() { reloaded <- a.Reload() }()
			for asked := false; !asked; time.Sleep(time.Millisecond) {
				a.asking.Lock()
				asked = a.next != nil
				a.asking.Unlock()
			}
			if fails {
				return 0, errors.New("no")
			}
			return 7, nil
		})
		if (err != nil) != fails {
			t.Fatal(err)
		}
		if err := <-reloaded; fails && err != nil || !fails && !errors.Is(err, ErrSucceeded) {
			t.Errorf("the upgrade fails: %v; the reload: %v", fails, err)
		}
	}
	if g := a.Generation(); g.Reloads != 1 || !g.LastOK {
		t.Errorf("%+v", g)
	}
}

// nextIs says what the next process, which is this test binary, does.
const nextIs = "STEELYARD_TEST_NEXT"

// TestNextProcess is no test but what the next process of TestSlowNextProcess runs.
func TestNextProcess(t *testing.T) {
	switch text := os.Getenv(nextIs); text {
	case "":
		return
	case "silent":
		time.Sleep(time.Minute)
	default:
		sockets, err := upgrade.Inherit()
		if err != nil {
			t.Fatal(err)
		}
		a, err := StartOn(sockets, parse(t, text), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := sockets.Ready(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		a.Stop()
	}
}

// TestSlowNextProcess: one that is not ready in time is ended, and the process in force
// serves on, can be reloaded, and is upgraded when another is.
func TestSlowNextProcess(t *testing.T) {
	address := freeAddress(t)
	text := func(status int) string {
		return fmt.Sprintf("listeners: {web: %q}\nroutes: [{respond: %d}]\n", address, status)
	}
	self, err := upgrade.Self()
	if err != nil {
		t.Fatal(err)
	}
	self.Args = []string{"-test.run=^TestNextProcess$"}
	defer http.DefaultClient.CloseIdleConnections()
	a, write := reloadable(t, text(201))
	defer a.Stop()
	self.Patience = 200 * time.Millisecond
	t.Setenv(nextIs, "silent")
	if err := a.HandOver(self.Start); err == nil || err.Error() != "the new process did not serve within 200ms and was ended" {
		t.Fatal(err)
	}
	if status, _ := get(t, "http://"+address); status != 201 || a.Successor() != 0 || !a.Well() {
		t.Errorf("%d", status)
	}
	write(text(202))
	if err := a.Reload(); err != nil {
		t.Error(err)
	}
	if status, _ := get(t, "http://"+address); status != 202 {
		t.Errorf("%d after a reload", status)
	}
	self.Patience = time.Minute
	t.Setenv(nextIs, text(203))
	if err := a.HandOver(self.Start); err != nil {
		t.Fatal(err)
	}
	next, err := os.FindProcess(a.Successor())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Kill(); _, _ = next.Wait() }()
	http.DefaultClient.CloseIdleConnections()
	a.Stop()
	if status, _ := get(t, "http://"+address); status != 203 {
		t.Errorf("%d after the upgrade", status)
	}
}
