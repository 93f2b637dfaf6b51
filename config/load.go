package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gopkg.in/yaml.v3"
)

// Load reads and checks the configuration in the file at path, with the
// process's environment for ${NAME}, and warns of files that sources name and
// that are not there. The error is of type Errors and lists everything that is
// wrong, unless the file cannot be read at all.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parse(path, data, os.LookupEnv, func(name string) bool {
		_, err := os.Stat(name)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// Parse reads and checks a configuration. file is what errors call it; env
// looks up the variables of ${NAME}. The error, if any, is of type Errors; the
// Config is complete with every default, and nil when there is an error.
func Parse(file string, data []byte, env func(string) (string, bool)) (*Config, error) {
	return parse(file, data, env, nil)
}

// parse is Parse with warnings of the files that missing knows of, and errors of
// the certificates that are there; a nil missing is for no look at the disk.
func parse(file string, data []byte, env func(string) (string, bool), missing func(string) bool) (*Config, error) {
	root, bad := readYAML(data, "the least that works is "+minimalExample)
	if bad != nil {
		bad.File = file
		return nil, Errors{bad}
	}
	w := newWalker(file, env, root)
	if w.missing, w.disk = missing, missing != nil; !w.disk {
		w.missing = func(string) bool { return false }
	}
	c := readFile(w, root)
	if len(w.errs) > 0 {
		return nil, Errors(sortErrors(w.errs))
	}
	c.Warnings = sortErrors(w.warnings)
	return c, nil
}

// ParseBackends reads the content of a file source: a list of backends, in YAML
// or JSON, in the form that the key backends has. It may be empty, a file
// without a list may not: that is rather half a file than the wish for none. The
// error, if any, is of type Errors.
func ParseBackends(file string, data []byte, env func(string) (string, bool)) ([]Backend, error) {
	root, bad := readYAML(data, "write [] if there is to be no backend")
	if bad != nil {
		bad.File = file
		return nil, Errors{bad}
	}
	w := newWalker(file, env, root)
	backends := readBackends(w, root)
	if len(w.errs) > 0 {
		return nil, Errors(sortErrors(w.errs))
	}
	return backends, nil
}

func readBackends(w *walker, root *yaml.Node) []Backend {
	v, ok := w.follow(root, "")
	if ok && v.node.Kind != yamlSequence {
		w.fail(v, Error{Msg: fmt.Sprintf("the file is %s, not a list of backends", kindName(v.node)), Allowed: "one backend per line with - in front, or [a, b]"})
		return nil
	}
	var drafts []backendDraft // those without an error
	if ok {
		list(backendMapping().kind()).read(w, v, &drafts)
	}
	distinct(w, drafts, "file")
	backends := make([]Backend, len(drafts))
	for i, d := range drafts {
		backends[i] = d.Backend
	}
	return backends
}
