package wire_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"steelyard/test/harness"
)

var update = flag.Bool("update", false, "write the messages of all cases where the fuzz targets of internal/wire read them")

// TestCorpus holds that the fuzz targets of the parsers begin with the messages of
// these cases: go test ./test/wire -run TestCorpus -update.
func TestCorpus(t *testing.T) {
	corpora := map[string][]string{}
	for _, c := range allCases() {
		corpora["requests"] = append(corpora["requests"], c.send)
	}
	for _, c := range backendCases() {
		corpora["responses"] = append(corpora["responses"], c.says)
	}
	for name, messages := range corpora {
		var text strings.Builder
		slices.Sort(messages)
		for _, m := range slices.Compact(messages) {
			if len(m) < 1000 { // The fuzzer makes long ones by itself.
				text.WriteString(strconv.QuoteToASCII(m))
				text.WriteByte('\n')
			}
		}
		file := filepath.Join(harness.Root(t), "internal", "wire", "testdata", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil || string(have) != text.String() {
			t.Errorf("%s.txt does not have the messages of the cases (%v); run: go test ./test/wire -run TestCorpus -update", name, err)
		}
	}
}
