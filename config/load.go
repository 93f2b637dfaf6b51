package config

import (
	"fmt"
	"os"
)

// Load reads and checks the configuration in the file at path, with the
// process's environment for ${NAME}. The error is of type Errors and lists
// everything that is wrong, unless the file cannot be read at all.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse reads and checks a configuration. file is what errors call it; env
// looks up the variables of ${NAME}. The error, if any, is of type Errors; the
// Config is complete with every default, and nil when there is an error.
func Parse(file string, data []byte, env func(string) (string, bool)) (*Config, error) {
	root, bad := readYAML(data)
	if bad != nil {
		bad.File = file
		return nil, Errors{bad}
	}
	w := newWalker(file, env, root)
	c := readFile(w, root)
	if len(w.errs) > 0 {
		return nil, Errors(sortErrors(w.errs))
	}
	c.Warnings = sortErrors(w.warnings)
	return c, nil
}
