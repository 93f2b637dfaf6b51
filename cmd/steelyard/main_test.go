package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steelyard/config"
	"steelyard/internal/demo"
)

func invoke(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = dispatch(args, &o, &e)
	return status, o.String(), e.String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "steelyard.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	for _, c := range commands() {
		for _, flag := range []string{"-h", "--help"} {
			status, out, errOut := invoke(t, c.name, flag)
			if status != 0 || errOut != "" {
				t.Errorf("%s %s: status %d, error output %q", c.name, flag, status, errOut)
			}
			if !strings.Contains(out, "Usage: steelyard "+c.name) || !strings.Contains(out, "Example:\n  steelyard "+c.name) {
				t.Errorf("%s %s shows no usage or no example:\n%s", c.name, flag, out)
			}
		}
	}
}

func TestHelpListsEveryCommand(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--help"}, {"help"}} {
		status, out, _ := invoke(t, args...)
		if status != 0 {
			t.Errorf("%v: status %d", args, status)
		}
		for _, c := range commands() {
			if !strings.Contains(out, c.summary) {
				t.Errorf("%v does not list %s", args, c.name)
			}
		}
	}
}

func TestMistakesInTheCommandLine(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"nothing":             {nil, "Usage:"},
		"unknown command":     {[]string{"serve"}, "there is no command \"serve\"\nsteelyard -h lists the commands."},
		"unknown flag":        {[]string{"run", "-config", "x"}, "there is no flag --config"},
		"a slip in a command": {[]string{"poools"}, `there is no command "poools"; did you mean "pools"?`},
		"a flag too early":    {[]string{"--json", "pools"}, "--json stands before a command"},
		"a slip in a flag":    {[]string{"pools", "--josn"}, "there is no flag --josn; did you mean --json?"},
		"below 0":             {[]string{"weight", "web", "127.0.0.1:1", "-5"}, "no number here is below 0"},
		"no number":           {[]string{"errors", "-n", "x"}, `invalid value "x" for flag -n: it is a whole number`},
		"no value":            {[]string{"drain", "--for"}, "--for needs a value behind it"},
		"no file":             {[]string{"run"}, "-c FILE is missing"},
		"stray argument":      {[]string{"check", "-c", "x", "y"}, `unexpected argument "y"`},
		"version":             {[]string{"version", "y"}, `unexpected argument "y"`},
	} {
		status, _, errOut := invoke(t, tt.args...)
		if status != 2 || !strings.Contains(errOut, tt.want) {
			t.Errorf("%s: status %d, %q; want 2 and %q", name, status, errOut, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version", "-v"} {
		if status, out, _ := invoke(t, arg); status != 0 || !strings.HasPrefix(out, "steelyard dev (go1.") {
			t.Errorf("%s: status %d, %q", arg, status, out)
		}
	}
}

func TestCheckListsEverythingAndFails(t *testing.T) {
	file := writeFile(t, `listeners: {web: {address: "127.0.0.1:0x"}}
routes: [{pool: wbe}]
pools: {web: {backends: [127.0.0.1:3001], polcy: random}}
`)
	status, _, errOut := invoke(t, "check", "-c", file)
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	for _, want := range []string{file + ":1:", file + ":2:", file + ":3:", `did you mean "web"`, `did you mean "policy"`, "3 errors"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("no %q in:\n%s", want, errOut)
		}
	}
}

func TestCheckOfAGoodFile(t *testing.T) {
	status, out, errOut := invoke(t, "check", "-c", "../../examples/minimal.yaml")
	if status != 0 || errOut != "" || !strings.Contains(out, "ok: 1 listener, 1 route, 1 pool") {
		t.Errorf("status %d, %q, %q", status, out, errOut)
	}
}

func TestCheckWarnsWithoutFailing(t *testing.T) {
	file := writeFile(t, `listeners: {web: ":8080"}
routes: [{pool: web}]
pools: {web: {backends: [127.0.0.1:3001]}, spare: {backends: [127.0.0.1:3002]}}
`)
	if status, _, errOut := invoke(t, "check", "-c", file); status != 0 || !strings.Contains(errOut, "warning: ") {
		t.Errorf("status %d, %q; want 0 and a warning", status, errOut)
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	if status, _, errOut := invoke(t, "run", "-c", "no/such.yaml"); status != 1 || !strings.Contains(errOut, "no/such.yaml") {
		t.Errorf("status %d, %q", status, errOut)
	}
}

func TestDemoConfigurationIsValid(t *testing.T) {
	b, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cfg, err := config.Parse("demo.yaml", []byte(b.Configuration()), nil)
	if err != nil || len(cfg.Warnings) > 0 {
		t.Errorf("error %v, warnings %v", err, cfg.Warnings)
	}
}
