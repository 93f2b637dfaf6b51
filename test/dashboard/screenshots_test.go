package dashboard_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/hashicorp/consul/api"

	"steelyard/test/harness"
)

const galleryYAML = `
listeners:
  web: LISTEN
  internal: {address: INTERNAL}
routes:
  - {name: api, match: {host: api.example.com, path: /v1/*}, pool: api, rewrite: {strip_prefix: /v1}}
  - {name: beta, match: {host: shop.example.com, headers: {x-beta: "1"}}, pool: shop}
  - {name: shop, match: {host: shop.example.com}, pool: shop}
  - {name: search, match: {path: /search, method: [GET, HEAD]}, pool: search}
  - {name: reports, match: {path: /reports/*}, pool: reports}
  - {name: www, match: {host: www.example.com}, redirect: {to: "https://shop.example.com{uri}", status: 301}}
pools:
  shop:
    source: {consul: {service: shop, max_removal: 30%%, guard_timeout: 10m}}
    check: {path: /healthz, interval: 500ms}
    sticky: cookie
    drain_timeout: 5m
    outlier: off
  api:
    policy: least_connections
    backends: [{address: "%s", weight: 3}, {address: "%s", weight: 2}, {address: "%s", weight: 1}]
    check: {path: /healthz, interval: 500ms, timeout: 400ms}
    outlier: off
  search: {backends: ["%s", "%s"], check: {path: /healthz, interval: 1s}, outlier: off}
  reports: {backends: ["127.0.0.1:9"], retry: {attempts: 1}, outlier: off}
consul: CONSUL
admin: ADMIN
`

// TestScreenshots takes the pictures of docs/img, for `make screenshots`, which
// names the folder in SCREENSHOTS. It shows a busy Steelyard with some trouble.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		t.Skip("make screenshots takes them")
	}
	s, agent, apps := gallery(t)
	light := newBrowser(t, 1280, 800)
	light.expect("ERR_")
	light.open("http://" + s.Admin + "/")
	light.sees(".card.pool", "healthy")
	trouble(t, s, agent, apps)
	shots := []struct {
		name, hash string
		ready      func(*browser)
	}{
		{"overview", "#/", func(b *browser) { b.sees(".banner", "held back"); b.sees(".orders", "drain") }},
		{"pool", "#/pool/api", func(b *browser) {
			b.sees(".backends", "unhealthy")
			b.click("[data-choice=backend]")
			b.sees(".legend", apps[4].Address)
		}},
		{"errors", "#/errors", func(b *browser) { b.click(".group summary"); b.sees(".error", "attempt") }},
		{"routes", "#/routes", func(b *browser) {
			b.write("#q-host", "api.example.com")
			b.write("#q-path", "/v1/orders/42?full=1")
			b.click("[data-do=explain]")
			b.sees(".candidates", apps[4].Address)
		}},
	}
	for _, view := range []struct {
		suffix string
		scheme string
		width  int64
		height int64
	}{{"", "light", 1280, 800}, {"-dark", "dark", 1280, 800}, {"-phone", "light", 390, 844}} {
		b := newBrowser(t, view.width, view.height)
		b.do(scheme(view.scheme))
		for _, shot := range shots {
			b.open("http://" + s.Admin + "/?" + view.suffix + shot.name + shot.hash)
			b.sees("#link", "live")
			shot.ready(b)
			js[bool](b, "(document.activeElement.blur(), scrollTo(0, 0), true)")
			b.do(chromedp.Sleep(1500 * time.Millisecond)) // two more seconds of the stream
			name := filepath.Join(folder, shot.name+view.suffix+".png")
			picture := b.part(view.width, 2200)
			if len(picture) > 200<<10 {
				t.Errorf("%s has %d bytes; it is to be below 200 KiB", name, len(picture))
			}
			if err := os.WriteFile(name, picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// scheme is what the system of the viewer prefers.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// gallery starts all that is to be seen and lets some time of traffic pass.
func gallery(t *testing.T) (*harness.Steelyard, *harness.ConsulAgent, []*harness.Node) {
	t.Helper()
	var apps []*harness.Node
	for i, delay := range []int{4, 5, 4, 6, 9, 14, 22, 30, 34} {
		apps = append(apps, harness.App(t, fmt.Sprintf("app-%d", i+1), fmt.Sprintf("DELAY_MS=%d", delay)))
	}
	agent := harness.Consul(t)
	for i, a := range apps[:4] {
		_, port, err := net.SplitHostPort(a.Address)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		agent.Register("shop", fmt.Sprintf("shop-%d", i+1), n, func(r *api.AgentServiceRegistration) {
			r.Tags, r.Meta = []string{"v2"}, map[string]string{"zone": fmt.Sprintf("eu-%d", i%2+1)}
		})
	}
	yaml := fmt.Sprintf(galleryYAML, apps[4].Address, apps[5].Address, apps[6].Address, apps[7].Address, apps[8].Address)
	s := harness.Start(t, strings.NewReplacer("CONSUL", agent.Address(), "INTERNAL", harness.FreeAddress(t)).Replace(yaml))
	for range 6 {
		visitors(t, s.URL)
	}
	began := time.Now()
	for time.Since(began) < seconds(t, 40) {
		time.Sleep(time.Second) // Charts need a past.
	}
	return s, agent, apps
}

// seconds is how long traffic flows before the first picture; SCREENSHOTS_AFTER
// changes it, as "3m".
func seconds(t *testing.T, usual int) time.Duration {
	t.Helper()
	if text := os.Getenv("SCREENSHOTS_AFTER"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return time.Duration(usual) * time.Second
}

// trouble is what an operator may have to do with.
func trouble(t *testing.T, s *harness.Steelyard, agent *harness.ConsulAgent, apps []*harness.Node) {
	t.Helper()
	apps[6].Set(t, "health", 500)
	apps[5].Set(t, "share", 0.06)
	s.Order(t, "shop", apps[3].Address, "drain", `{"for": "4m"}`)
	s.Order(t, "api", apps[4].Address, "weight", `{"weight": 4}`)
	agent.Deregister("shop-1")
	agent.Deregister("shop-2")
	harness.Eventually(t, patience, "the guard holds what was removed", func() bool {
		for _, src := range s.Pool(t, "shop").Sources {
			if len(src.Held) > 0 {
				return true
			}
		}
		return false
	})
	time.Sleep(8 * time.Second) // Checks, shares and errors need some.
}

// visitors ask for this and that until the test ends.
func visitors(t *testing.T, url string) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	client := harness.Client(t)
	wg.Go(func() {
		for {
			wave := 8 + 5*time.Duration(rand.IntN(4))
			select {
			case <-done:
				return
			case <-time.After(wave * time.Millisecond):
			}
			host, path := "shop.example.com", "/"
			switch {
			case rand.IntN(3) == 0:
				host, path = "api.example.com", "/v1/orders"
			case rand.IntN(6) == 0:
				host, path = "example.com", "/search?q=scales"
			case rand.IntN(60) == 0:
				host, path = "example.com", "/reports/weekly"
			case rand.IntN(120) == 0:
				host, path = "example.com", "/nowhere"
			}
			_, _, _ = harness.Do(client, http.MethodGet, url+path, "", "Host: "+host) // Some fail, to be seen.
		}
	})
	t.Cleanup(func() {
		close(done)
		wg.Wait()
	})
}
