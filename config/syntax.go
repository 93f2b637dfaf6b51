package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFileSize bounds a configuration file; 10,000 routes are about 1 MB.
const maxFileSize = 16 << 20

// maxSearched is the largest file of which parts are parsed again to find the
// line of a syntax error; it takes some twenty times.
const maxSearched = 1 << 20

// minimalExample is the least that works, on one line so that it fits a message.
const minimalExample = `{listeners: {web: ":8080"}, routes: [{pool: web}], pools: {web: {backends: "127.0.0.1:3001"}}}`

// readYAML parses the single document of a file; hint is what to write into an
// empty one. On failure the error has a position but no file name.
func readYAML(data []byte, hint string) (*yaml.Node, *Error) {
	if len(data) > maxFileSize {
		return nil, &Error{Line: 1, Col: 1, Msg: fmt.Sprintf("the file has %d bytes", len(data)), Allowed: "at most 16MiB"}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isEmptyDocument(&doc) {
		return nil, &Error{Line: 1, Col: 1, Msg: "the file is empty; " + hint}
	}
	if err != nil {
		return nil, syntaxError(data, err)
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
		return doc.Content[0], nil
	case err != nil:
		return nil, syntaxError(data, err)
	}
	return nil, &Error{Line: more.Line, Col: more.Column, Msg: "a second YAML document begins here", Allowed: "one document in a file"}
}

func isEmptyDocument(doc *yaml.Node) bool {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return true
	}
	root := doc.Content[0]
	return root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" && root.Value == ""
}

// syntaxError turns an error of the YAML package into one with a position. The
// package names the line where the surrounding mapping or text began, or none
// at all, so the line is found by asking which is the shortest part of the file
// that fails in the same way.
func syntaxError(data []byte, err error) *Error {
	msg := err.Error()
	starts := lineStarts(data)
	fails := func(lines int) bool { // do the first lines of the file fail alike?
		end := len(data)
		if lines < len(starts) {
			end = starts[lines]
		}
		got := parseAll(data[:end])
		return got != nil && got.Error() == msg
	}
	lo, hi := 1, len(starts) // fails(hi) holds
	if len(data) > maxSearched {
		lo = min(reportedLine(msg), hi)
		hi = lo
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if fails(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	line := data[starts[lo-1]:]
	if lo < len(starts) {
		line = data[starts[lo-1]:starts[lo]]
	}
	return &Error{Line: lo, Col: firstColumn(line), Msg: "this is not YAML: " + plainSyntax(msg, string(line))}
}

// reportedLine is the line that the YAML package names, 1 if none.
func reportedLine(msg string) int {
	var line int
	if _, err := fmt.Sscanf(msg, "yaml: line %d:", &line); err != nil || line < 1 {
		return 1
	}
	return line
}

// parseAll reads every document of data and returns the first error.
func parseAll(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := dec.Decode(&n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// lineBreak is what ends a line for the YAML package, which counts the lines of
// all other errors.
var lineBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

// lineStarts lists the offsets at which the lines of data begin; there is
// always one. A file that ends in a line break has no line after it.
func lineStarts(data []byte) []int {
	starts := []int{0}
	for _, at := range lineBreak.FindAllIndex(data, -1) {
		if at[1] < len(data) {
			starts = append(starts, at[1])
		}
	}
	return starts
}

func firstColumn(line []byte) int {
	trimmed := bytes.TrimLeft(line, " \t")
	if len(bytes.TrimSpace(trimmed)) == 0 {
		return 1
	}
	return 1 + len(line) - len(trimmed)
}

// plainSyntax drops the package's own prefix and line from its message and adds
// what the usual causes are.
func plainSyntax(msg, line string) string {
	msg = strings.TrimPrefix(msg, "yaml: ")
	if strings.HasPrefix(msg, "line ") {
		if _, rest, ok := strings.Cut(msg, ": "); ok {
			msg = rest
		}
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return msg + "; YAML indents with spaces, and this line has a tab"
	case strings.Contains(line, "${") && strings.ContainsAny(line, "{["):
		return msg + `; inside { } and [ ] a value with ${…} needs quotes: "${NAME}"`
	case strings.Contains(msg, "mapping values are not allowed"):
		return msg + `; a text with ": " in it needs quotes, and keys of one mapping the same indentation`
	case strings.Contains(msg, "cannot start any token"):
		return msg + "; a text that begins with @, ` or % needs quotes"
	case strings.Contains(msg, "did not find expected alphabetic or numeric character"):
		return msg + "; a text that begins with * or & needs quotes"
	case strings.Contains(msg, "did not find expected key"):
		return msg + "; keys of one mapping need the same indentation"
	}
	return msg
}
