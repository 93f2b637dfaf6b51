package main

import (
	"flag"
	"fmt"
	"strconv"
	"strings"

	"steelyard/config"
)

// unknownCommand says what is wrong with the first word of a command line.
func unknownCommand(word string) string {
	if strings.HasPrefix(word, "-") {
		return fmt.Sprintf("%s stands before a command; flags come behind it, as in steelyard pools --json", word)
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if near := config.Nearest(word, names); near != "" {
		return fmt.Sprintf("there is no command %q; did you mean %q?", word, near)
	}
	return fmt.Sprintf("there is no command %q", word)
}

// flagMistake puts what package flag says into words that help.
func flagMistake(fs *flag.FlagSet, err error) error {
	text := err.Error()
	if name, unknown := strings.CutPrefix(text, "flag provided but not defined: -"); unknown {
		var names []string
		fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		switch _, notNumber := strconv.ParseFloat(name, 64); {
		case notNumber == nil:
			return usageError{fmt.Errorf("-%s looks like a flag, and no number here is below 0", name)}
		case config.Nearest(name, names) != "":
			return usageError{fmt.Errorf("there is no flag %s; did you mean %s?", dashed(name), dashed(config.Nearest(name, names)))}
		}
		return usageError{fmt.Errorf("there is no flag %s", dashed(name))}
	}
	if head, isNumber := strings.CutSuffix(text, ": parse error"); isNumber {
		return usageError{fmt.Errorf("%s: it is a whole number", head)}
	}
	if name, missing := strings.CutPrefix(text, "flag needs an argument: -"); missing {
		return usageError{fmt.Errorf("%s needs a value behind it", dashed(name))}
	}
	return usageError{err}
}

// dashed is a flag as the help writes it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
