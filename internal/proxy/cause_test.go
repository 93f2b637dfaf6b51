package proxy

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestCausesAreDocumented compares the closed list with docs/errors.md.
func TestCausesAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllSubmatch(text, -1) {
		documented = append(documented, string(row[1]))
	}
	if want := Causes(); !slices.Equal(documented, want) {
		t.Errorf("docs/errors.md lists\n%v\nthe code has\n%v", documented, want)
	}
}
