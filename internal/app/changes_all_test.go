package app

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"steelyard/config"
)

// TestEveryChangeIsTold: whatever field of a configuration differs, describe says so,
// with the key as it stands in the file.
func TestEveryChangeIsTold(t *testing.T) {
	var keys []string
	for _, k := range config.Keys() {
		keys = append(keys, "."+k.Path)
	}
	nobody := func(string) map[string]int { return nil }
	count := &filler{change: -1}
	count.fill(reflect.ValueOf(&config.Config{}).Elem(), "")
	for n, path := range count.paths {
		var a, b config.Config
		(&filler{change: -1}).fill(reflect.ValueOf(&a).Elem(), "")
		(&filler{change: n}).fill(reflect.ValueOf(&b).Elem(), "")
		for i := range a.Routes { // a route does one thing
			one(path, &a.Routes[i])
			if i < len(b.Routes) {
				one(path, &b.Routes[i])
			}
		}
		for i := range a.Pools { // what a policy knows goes by its name
			policy := "consistent_hash"
			if strings.HasSuffix(path, ".TableSize") {
				policy = "maglev"
			}
			a.Pools[i].Policy.Policy = policy
			if i < len(b.Pools) && !strings.HasSuffix(path, ".Policy.Policy") {
				b.Pools[i].Policy.Policy = policy
			}
		}
		got := describe(&a, &b, nobody)
		if len(got) == 0 || got[0] == unchanged {
			t.Errorf("a change of %s is not told", path)
			continue
		}
		for _, line := range got {
			for what := range strings.SplitSeq(line, ", ") {
				if word := keyIn(what); word != "" && !slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, "."+word) }) {
					t.Errorf("a change of %s is told as %q, but there is no key %s", path, line, word)
				}
			}
		}
	}
	if len(count.paths) < 200 {
		t.Errorf("only %d changes were tried", len(count.paths))
	}
}

// one leaves a route what a path is about, else its pool.
func one(path string, r *config.Route) {
	keep := reflect.ValueOf(*r)
	r.Pool, r.Split, r.Redirect, r.Respond = "", nil, nil, nil
	for _, name := range []string{"Split", "Redirect", "Respond", "Pool"} {
		if name == "Pool" || strings.Contains(path, "Routes[0]."+name) || strings.Contains(path, "Routes[1]."+name) {
			reflect.ValueOf(r).Elem().FieldByName(name).Set(keep.FieldByName(name))
			return
		}
	}
}

// keyIn is the key of a part of a description; "" if it is about something as a whole.
func keyIn(what string) string {
	if _, rest, ok := strings.Cut(what, ": "); ok {
		what = rest
	}
	if rest, ok := strings.CutPrefix(what, "backend "); ok { // its address, then the key
		_, what, _ = strings.Cut(rest, " ")
	}
	word, _, _ := strings.Cut(what, " ")
	if slices.Contains([]string{"opened", "closed", "added", "removed", "another", "nothing"}, word) || strings.ContainsAny(word[:1], "+-") || strings.Contains(what, "in another order") {
		return ""
	}
	return word
}

// filler fills a value with what differs everywhere, and makes one change.
type filler struct {
	change int
	paths  []string // of the changes there are
}

// changes reports whether the change that is next, at path, is to be made.
func (f *filler) changes(path string) bool {
	f.paths = append(f.paths, path)
	return len(f.paths)-1 == f.change
}

func (f *filler) fill(v reflect.Value, path string) {
	switch {
	case v.Type() == reflect.TypeFor[netip.Prefix]():
		bits := 8
		if f.changes(path) {
			bits = 16
		}
		v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(f.paths))}), bits)))
		return
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.Type.Kind() == reflect.Interface {
				continue // what is handed on with options, and is in no file
			} else if field.IsExported() && field.Name != "Line" && field.Name != "Warnings" {
				f.fill(v.Field(i), strings.TrimPrefix(path+"."+field.Name, "."))
			}
		}
		return
	case v.Kind() == reflect.Pointer:
		gone := f.changes(path + " (absent)")
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
		if gone {
			v.SetZero()
		}
		return
	case v.Kind() == reflect.Slice:
		f.fillSlice(v, path)
		return
	case v.Kind() == reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		f.fill(value, path+"[k]")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), value)
		return
	}
	other := f.changes(path)
	n := len(f.paths)
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d%v", n, other))
	case reflect.Bool:
		v.SetBool(other)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
		if other {
			v.SetInt(int64(n + 1000))
		}
	case reflect.Float64:
		v.SetFloat(0.25)
		if other {
			v.SetFloat(0.5)
		}
	default:
		panic("fill does not know a " + v.Type().String() + " yet, which " + path + " is")
	}
}

func (f *filler) fillSlice(v reflect.Value, path string) {
	fewer, turned := f.changes(path+" (one less)"), f.changes(path+" (another order)")
	v.Set(reflect.MakeSlice(v.Type(), 2, 2))
	f.fill(v.Index(0), path+"[0]")
	f.fill(v.Index(1), path+"[1]")
	switch {
	case fewer:
		v.SetLen(1)
	case turned:
		first := reflect.New(v.Type().Elem()).Elem()
		first.Set(v.Index(0))
		v.Index(0).Set(v.Index(1))
		v.Index(1).Set(first)
	}
}
