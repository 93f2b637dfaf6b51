package auth

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// quick is a bcrypt hash that is cheap to verify.
func quick(t testing.TB, password string) string {
	t.Helper()
	h, err := HashPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// header is what a client sends.
func header(name, password string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
}

func never() bool { return false }

func basic(t testing.TB, o Options) *Basic {
	t.Helper()
	if o.Realm == "" {
		o.Realm = "Restricted"
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	b, err := NewBasic(o, NewGuard())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseHash(t *testing.T) {
	right := "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct{ name, hash, want string }{
		{"bcrypt", quick(t, "x"), ""},
		{"bcrypt as htpasswd -B writes it", strings.Replace(quick(t, "x"), "$2a$", "$2y$", 1), ""},
		{"argon2id", right, ""},
		{"plain", "secret", "neither a bcrypt nor an argon2id hash; steelyard hash-password makes"},
		{"apr1", "$apr1$x$y", "MD5 (apr1)"},
		{"sha", "{SHA}x", "SHA-1"},
		{"sha512", "$6$x$y", "SHA-crypt"},
		{"argon2i", strings.Replace(right, "2id", "2i", 1), "argon2i, not argon2id"},
		{"cut", quick(t, "x")[:50], "not whole: it has 50 characters"},
		{"too slow", strings.Replace(quick(t, "x"), "$04$", "$20$", 1), "cost 20"},
		{"too large", strings.Replace(right, "m=64", "m=4000000", 1), "costs m=4000000"},
		{"no parameters", strings.Replace(right, "m=64,t=1,p=1", "m=64", 1), "damaged"},
		{"no time", strings.Replace(right, "t=1", "t=0", 1), "damaged"},
		{"short salt", strings.Replace(right, "c29tZXNhbHQ", "c29t", 1), "damaged"},
		{"bad salt", strings.Replace(right, "c29tZXNhbHQ", "!!!!", 1), "damaged"},
		{"old", strings.Replace(right, "v=19", "v=16", 1), "damaged"},
		{"empty", "", "neither"},
	} {
		_, err := ParseHash(c.hash)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestHashPassword(t *testing.T) {
	for _, cost := range []int{0, bcrypt.MinCost} {
		text, err := HashPassword([]byte("pässword"), cost)
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHash(text)
		if err != nil || !h.Matches([]byte("pässword")) || h.Matches([]byte("password")) || h.Matches(nil) {
			t.Errorf("%s does not match as it should: %v", text, err)
		}
	}
	for password, cost := range map[string]int{"": 0, strings.Repeat("x", 73): 0, "a\nb": 0, "x": 3, "y": 15} {
		if _, err := HashPassword([]byte(password), cost); err == nil {
			t.Errorf("%q with %d is taken", password, cost)
		}
	}
}

func TestVerify(t *testing.T) {
	argon, err := HashPassword([]byte("secret"), 0)
	if err != nil {
		t.Fatal(err)
	}
	b := basic(t, Options{Users: map[string]string{"alice": quick(t, "wonder:land"), "bob": argon, "møller": quick(t, "æ")}})
	for _, c := range []struct {
		name, header, user string
		want               Verdict
	}{
		{"right", string(header("alice", "wonder:land")), "alice", Right},
		{"right again", string(header("alice", "wonder:land")), "alice", Right},
		{"argon2id", string(header("bob", "secret")), "bob", Right},
		{"UTF-8", string(header("møller", "æ")), "møller", Right},
		{"scheme in other case", strings.Replace(string(header("alice", "wonder:land")), "Basic ", "bASIC   ", 1), "alice", Right},
		{"wrong password", string(header("alice", "wonder")), "", Wrong},
		{"wrong password again", string(header("alice", "wonder")), "", Wrong},
		{"another's password", string(header("alice", "secret")), "", Wrong},
		{"nobody", string(header("carol", "secret")), "", Wrong},
		{"name with case", string(header("Alice", "wonder:land")), "", Wrong},
		{"empty name", string(header("", "secret")), "", Wrong},
		{"empty password", string(header("alice", "")), "", Wrong},
		{"none", "", "", Missing},
		{"another scheme", "Bearer abc", "", Wrong},
		{"scheme alone", "Basic ", "", Wrong},
		{"no base64", "Basic !!!!", "", Wrong},
		{"no colon", "Basic " + base64.StdEncoding.EncodeToString([]byte("alice")), "", Wrong},
		{"no padding", strings.TrimRight(string(header("alice", "wonder:land")), "="), "", Wrong},
		{"NUL", string(header("alice", "wonder:land\x00")), "", Wrong},
		{"control", string(header("alice\n", "wonder:land")), "", Wrong},
		{"long", string(header("alice", strings.Repeat("x", 1<<20))), "", Wrong},
		{"long name", string(header(strings.Repeat("x", 300), "x")), "", Wrong},
	} {
		if user, v := b.Verify([]byte(c.header), time.Hour, never); user != c.user || v != c.want {
			t.Errorf("%s: %q, %v", c.name, user, v)
		}
	}
}

// TestOnlyTheFirstIsPaidFor: right and wrong credentials that come again are known
// again, and nobody else is taken for them.
func TestOnlyTheFirstIsPaidFor(t *testing.T) {
	b := basic(t, Options{Users: map[string]string{"alice": quick(t, "secret")}})
	if _, v := b.Verify(header("alice", "secret"), 0, never); v != Right {
		t.Fatal(v)
	}
	b.Verify(header("alice", "wrong"), 0, never)
	b.users.Load().byName["alice"].hash = &Hash{bcrypt: []byte("nothing matches this")}
	for range 2 {
		if _, v := b.Verify(header("alice", "secret"), 0, never); v != Right {
			t.Errorf("what was right is not known again: %v", v)
		}
		if _, v := b.Verify(header("alice", "secre"), 0, never); v != Wrong {
			t.Errorf("what is wrong comes in: %v", v)
		}
		if _, v := b.Verify(header("alic", "esecret"), 0, never); v != Wrong {
			t.Errorf("another name comes in: %v", v)
		}
	}
	b.users.Load().byName["alice"].hash, _ = ParseHash(quick(t, "wrong"))
	if _, v := b.Verify(header("alice", "wrong"), keepRefusals/2, never); v != Wrong {
		t.Errorf("what was wrong is verified again: %v", v)
	}
	if _, v := b.Verify(header("alice", "wrong"), keepRefusals+1, never); v != Right {
		t.Errorf("what was wrong is never verified again: %v", v)
	}
}

// TestNobodyCostsTheSame: names that there are cannot be told from others by time.
func TestNobodyCostsTheSame(t *testing.T) {
	if raceEnabled {
		t.Skip("times mean nothing under the race detector")
	}
	hash, err := HashPassword([]byte("secret"), 8)
	if err != nil {
		t.Fatal(err)
	}
	b := basic(t, Options{Users: map[string]string{"alice": hash}})
	took := func(name string) time.Duration {
		least := time.Hour
		for i := range 12 {
			began := time.Now()
			b.Verify(header(name, fmt.Sprint("wrong", i)), 0, never)
			least = min(least, time.Since(began))
		}
		return least
	}
	there, nobody := took("alice"), took("nobody")
	if nobody < there*7/10 || there < nobody*7/10 {
		t.Errorf("a name that is there takes %v, another %v", there, nobody)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("# people\n\nalice:" + quick(t, "one") + "\r\n")
	b := basic(t, Options{File: path, Users: map[string]string{"admin": quick(t, "root")}})
	at := time.Duration(0)
	verdicts := func() string {
		at += lookAtFile
		var all []string
		for _, who := range []string{"admin root", "alice one", "alice two", "bob three"} {
			name, password, _ := strings.Cut(who, " ")
			if _, v := b.Verify(header(name, password), at, never); v == Right {
				all = append(all, who)
			}
		}
		return strings.Join(all, ", ")
	}
	if got := verdicts(); got != "admin root, alice one" {
		t.Errorf("at first: %s", got)
	}
	write("alice:" + quick(t, "two") + "\nbob:" + quick(t, "three") + "\n")
	if got := verdicts(); got != "admin root, alice two, bob three" {
		t.Errorf("after a change: %s", got)
	}
	for _, bad := range []string{"alice\n", "alice:secret\n", "admin:" + quick(t, "x") + "\n", strings.Repeat("x", maxFile+1)} {
		write(bad)
		if got := verdicts(); got != "admin root, alice two, bob three" {
			t.Errorf("with %.20q: %s", bad, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := verdicts(); got != "admin root, alice two, bob three" {
		t.Errorf("without the file: %s", got)
	}
	write("bob:" + quick(t, "three") + "\n")
	if got := verdicts(); got != "admin root, bob three" {
		t.Errorf("in the end: %s", got)
	}
	for text, want := range map[string]string{"x\n": ":1: there is no colon", "a:b\n": "users:1: \"a\": auth: the hash is neither", "a:" + quick(t, "x") + "\na:" + quick(t, "x"): `users:2: "a" is there already`} {
		write(text)
		if _, err := NewBasic(Options{File: path}, NewGuard()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	write("")
	if b, err := NewBasic(Options{File: path}, NewGuard()); err != nil {
		t.Error(err)
	} else if _, v := b.Verify(header("a", "b"), 0, never); v != Wrong {
		t.Errorf("nobody is there, and somebody gets %v", v)
	}
}

func TestValidate(t *testing.T) {
	for want, o := range map[string]Options{
		"realm has quotes":      {Realm: `a"b`, File: "f"},
		"neither users nor":     {Realm: "a"},
		"neither a bcrypt nor":  {Users: map[string]string{"a": "b"}},
		`"a:b" is not a name`:   {Users: map[string]string{"a:b": "x"}},
		`"" is not a name`:      {Users: map[string]string{"": "x"}},
		`"a\x00" is not a name`: {Users: map[string]string{"a\x00": "x"}},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no word of %s", err, want)
		}
	}
	o := Options{Realm: "a", Users: map[string]string{"a": "b"}}
	if p := o; !o.Equal(p) || o.Equal(Options{Realm: "a"}) {
		t.Error("Equal is wrong")
	}
}

// TestGuard bounds who verifies, who waits, and for how long.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{places: make(chan struct{}, 2)}
		var in, most, refused, atOnce atomic.Int32
		var wg sync.WaitGroup
		began := time.Now()
		for range 2 + maxWaiting + 10 {
			wg.Go(func() {
				if !g.enter(never) {
					if refused.Add(1); time.Since(began) == 0 {
						atOnce.Add(1)
					}
					return
				}
				most.Store(max(most.Load(), in.Add(1)))
				time.Sleep(time.Second)
				in.Add(-1)
				g.leave()
			})
		}
		wg.Wait()
		if n := atOnce.Load(); n != 10 {
			t.Errorf("%d were too many to wait, want 10", n)
		}
		// 2 at a time for 5 s are 10 to 12; ten were too many to wait at all.
		if n := refused.Load(); most.Load() != 2 || n < 10+maxWaiting-10 || n > 10+maxWaiting-8 || time.Since(began) > 7*time.Second {
			t.Errorf("%d at a time, %d refused, %v", most.Load(), n, time.Since(began))
		}
		g.enter(never)
		g.enter(never)
		began = time.Now()
		if g.enter(func() bool { return time.Since(began) > time.Second }) || time.Since(began) > 2*time.Second {
			t.Errorf("who has gone waited %v", time.Since(began))
		}
	})
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+quick(t, "one")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := basic(t, Options{File: path})
	var clock atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 10 {
				if _, v := b.Verify(header("alice", "one"), time.Duration(clock.Add(int64(lookAtFile/4))), never); v != Right {
					t.Errorf("verdict %v", v)
				}
				b.Verify(header("alice", fmt.Sprint(i)), 0, never)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			_ = os.WriteFile(path+".new", []byte("alice:"+quick(t, "one")+"\n"), 0o600)
			_ = os.Rename(path+".new", path)
		}
	})
	wg.Wait()
}

func TestNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given under the race detector")
	}
	b := basic(t, Options{Users: map[string]string{"alice": quick(t, "secret")}})
	right, wrong := header("alice", "secret"), header("alice", "wrong")
	b.Verify(right, 0, never)
	b.Verify(wrong, 0, never)
	if n := testing.AllocsPerRun(1000, func() {
		b.Verify(right, 0, never)
		b.Verify(wrong, 0, never)
	}); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("Basic YTpi")
	f.Add("basic " + strings.Repeat("A", 500))
	b, err := NewBasic(Options{Users: map[string]string{"alice": "$2a$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK"}}, NewGuard())
	if err != nil {
		f.Fatal(err)
	}
	b.users.Load().anybody = nil // to be quick
	b.users.Load().byName = map[string]*user{}
	f.Fuzz(func(t *testing.T, h string) {
		if _, v := b.Verify([]byte(h), 0, never); v == Right || v == Busy {
			t.Errorf("%q: %v", h, v)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$2y$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHash(s); err == nil && h.bcrypt == nil && (h.memory > maxMemory || len(h.key) < 16) {
			t.Errorf("%q is taken", s)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for name, cost := range map[string]int{"known": bcrypt.MinCost, "bcrypt-10": 10, "argon2id": 0} {
		b.Run(name, func(b *testing.B) {
			hash, err := HashPassword([]byte("secret"), cost)
			if err != nil {
				b.Fatal(err)
			}
			v := basic(b, Options{Users: map[string]string{"alice": hash}})
			v.Verify(header("alice", "secret"), 0, never)
			h, _ := ParseHash(hash)
			shown := header("alice", "secret")
			b.ReportAllocs()
			for b.Loop() {
				if name == "known" {
					v.Verify(shown, 0, never)
				} else {
					h.Matches([]byte("secret"))
				}
			}
		})
	}
}
