package app

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestComingAndGoingKeys shows the keys of a pool that are about backends that
// come and go.
func TestComingAndGoingKeys(t *testing.T) { runKeyCases(t, drainKeyCases()) }

func drainKeyCases() []keyCase {
	return []keyCase{
		{name: "slow_start", keys: ofPool("slow_start"), world: recovers, act: func(s *side) { s.set("well") },
			pool: `backends: ["${A}", "${B}"], check: {path: /check, interval: 20ms}, KEY`,
			with: "slow_start: 1h", want: "slow_start 5 %, asked 1 of 20 times", other: "healthy 100 %, asked 10 of 20 times",
			look: func(s *side) string {
				b := s.backend("A")
				if b.State == "unhealthy" {
					return b.State
				}
				before := len(s.notes("asked"))
				s.getMany(20, "/")
				return fmt.Sprintf("%s %d %%, asked %d of 20 times", b.State, b.Percent, len(s.notes("asked"))-before)
			}},
		{name: "drain_timeout", keys: ofPool("drain_timeout"), look: lastOf("client"),
			pool: `backends: ["${A}"], retry: off, KEY`, with: "drain_timeout: 1s", want: "cut", other: "nothing",
			world: func(s *side) {
				s.serve("A", func(_ http.ResponseWriter, r *http.Request) {
					s.note("backend", "asked")
					s.wait(r)
				})
			},
			act: func(s *side) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					if s.get("/"); s.t.Context().Err() == nil {
						s.note("client", "cut")
					}
				}()
				s.t.Cleanup(func() { <-done })
				s.until("the backend is asked", func() bool { return s.last("backend") == "asked" })
				s.command("A", "drain", "{}")
			}},
		{name: "when_all_unhealthy", keys: ofPool("when_all_unhealthy"),
			pool: `backends: ["${A}"], check: {path: /check, interval: 20ms}, KEY`, with: "when_all_unhealthy: reject", want: "503 no_backend", other: "200 ",
			world: recovers,
			look: func(s *side) string {
				res, _ := s.get("/")
				return fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Steelyard-Cause"))
			}},
	}
}

// recovers runs A, which fails its check until it is told to be well, and B.
func recovers(s *side) {
	s.serve("A", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/check":
			s.note("asked", "")
		case !s.is("well"):
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s.serve("B", func(http.ResponseWriter, *http.Request) {})
}

// TestAdminKeys shows that the admin API listens where the file says, and
// nowhere without the key.
func TestAdminKeys(t *testing.T) { runKeyCases(t, adminKeyCases()) }

func adminKeyCases() []keyCase {
	look := func(s *side) string {
		<-s.started
		res, err := http.Get("http://" + s.env["ADMIN"] + "/livez")
		if err != nil {
			return "nobody there"
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	world := func(s *side) {
		answers(200, "")(s)
		s.env["ADMIN"] = freeAddress(s.t)
	}
	return []keyCase{
		{name: "admin", keys: []string{"admin"}, world: world, look: look, pool: `backends: ["${A}"]`,
			top: "KEY-admin", with: "admin: ${ADMIN}", want: "ok\n", other: "nobody there"},
		{name: "admin.address", keys: []string{"admin.address"}, world: world, look: look, pool: `backends: ["${A}"]`,
			top: "KEY-admin", with: `admin: {address: "${ADMIN}"}`, want: "ok\n", other: "nobody there"},
	}
}
