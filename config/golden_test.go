package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files and the tables of docs/configuration.md anew")

// testEnv is the environment of every test file.
func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"PORT": "3001", "WORD": "word", "NUMBER": "7", "EMPTY": "", "YAML": "{weight: 3, address: \"127.0.0.1:3001\"}\n- x",
	}[name]
	return v, ok
}

// golden compares got with the file at path, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./config -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// files lists the YAML files of a folder of testdata, and finds golden files
// that belong to none.
func files(t *testing.T, folder string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no files in testdata/%s: %v", folder, err)
	}
	var sources []string
	for _, f := range all {
		if strings.HasSuffix(f, ".yaml") {
			sources = append(sources, f)
		} else if !slices.Contains(all, strings.TrimSuffix(f, ".golden")+".yaml") {
			t.Errorf("%s belongs to no .yaml file", f)
		}
	}
	return sources
}

func parseFile(t *testing.T, path string) (*Config, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(filepath.Base(path), data, testEnv)
}

func TestGoodFiles(t *testing.T) {
	for _, path := range files(t, "ok") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			c, err := parseFile(t, path)
			if err != nil {
				t.Fatalf("refused:\n%v", err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", dump(c))
		})
	}
}

func TestBadFiles(t *testing.T) {
	paths := files(t, "bad")
	if len(paths) < 40 {
		t.Errorf("%d bad files, want at least 40", len(paths))
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			c, err := parseFile(t, path)
			if err == nil {
				t.Fatalf("accepted:\n%s", dump(c))
			}
			if c != nil {
				t.Error("a Config came with the error")
			}
			checkErrors(t, path, err)
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

// checkErrors asserts what holds for the errors of every file: the type, the
// order, one line each, and positions that exist.
func checkErrors(t *testing.T, path string, err error) {
	t.Helper()
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatal(readErr)
	}
	checkPositions(t, data, err)
}

func checkPositions(t *testing.T, data []byte, err error) {
	t.Helper()
	var es Errors
	if !errors.As(err, &es) || len(es) == 0 {
		t.Fatalf("error is %T, want Errors with at least one", err)
	}
	lines := strings.Split(breaks.Replace(string(data)), "\n")
	for i, e := range es {
		if e.Line < 1 || e.Line > len(lines) {
			t.Errorf("line %d of %d: %v", e.Line, len(lines), e)
		} else if width := len([]rune(lines[e.Line-1])); e.Col < 1 || e.Col > width+1 {
			t.Errorf("column %d of %d: %v", e.Col, width, e)
		}
		if strings.ContainsAny(e.Error(), "\n\r") {
			t.Errorf("more than one line: %q", e.Error())
		}
		if i > 0 && (e.Line < es[i-1].Line || e.Line == es[i-1].Line && e.Col < es[i-1].Col) {
			t.Errorf("out of order: %v", e)
		}
	}
}

// breaks are the line breaks of YAML 1.1.
var breaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// dump writes everything in a Config, one value a line, so that a golden file
// shows each default and each change of one.
func dump(c *Config) string {
	var b strings.Builder
	dumpValue(&b, "", reflect.ValueOf(*c))
	return b.String()
}

func dumpValue(b *strings.Builder, path string, v reflect.Value) {
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() != reflect.Pointer {
		fmt.Fprintf(b, "%s = %s\n", path, s)
		return
	}
	if e, ok := v.Interface().(*Error); ok {
		fmt.Fprintf(b, "%s = %s\n", path, e.Error())
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			dumpValue(b, strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
		}
	case reflect.Slice:
		if v.Len() == 0 {
			fmt.Fprintf(b, "%s = none\n", path)
		}
		for i := range v.Len() {
			dumpValue(b, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			fmt.Fprintf(b, "%s[%q] = %q\n", path, k.String(), v.MapIndex(k).String())
		}
		if v.Len() == 0 {
			fmt.Fprintf(b, "%s = none\n", path)
		}
	case reflect.Pointer:
		if v.IsNil() {
			fmt.Fprintf(b, "%s = none\n", path)
			return
		}
		dumpValue(b, path, v.Elem())
	case reflect.String:
		fmt.Fprintf(b, "%s = %q\n", path, v.String())
	default:
		fmt.Fprintf(b, "%s = %v\n", path, v.Interface())
	}
}

// TestDumpShowsEverything keeps the golden files honest: a field that dump left
// out could change without a test that sees it.
func TestDumpShowsEverything(t *testing.T) {
	a := &Config{ShutdownTimeout: time.Second, Pools: []Pool{{Name: "x", Retry: Retry{On: []string{"connect"}}}}}
	got := dump(a)
	for _, want := range []string{"ShutdownTimeout = 1s\n", `Pools[0].Name = "x"`, `Pools[0].Retry.On[0] = "connect"`, "Pools[0].Sticky = none", "Pools[0].Transport.MaxIdle = 0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
