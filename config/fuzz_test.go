package config

import (
	"os"
	"testing"
)

// FuzzParse holds for any bytes: no panic, no endless work, and either a whole
// Config or Errors whose positions are inside the file.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"ok", "bad"} {
		entries, err := os.ReadDir("testdata/" + folder)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile("testdata/" + folder + "/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			if len(e.Name()) > 5 && e.Name()[len(e.Name())-5:] == ".yaml" {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		c, err := Parse("fuzz.yaml", data, testEnv)
		switch {
		case err == nil && c == nil:
			t.Error("neither a Config nor an error")
		case err == nil && (len(c.Listeners) == 0 || len(c.Routes) == 0):
			t.Error("a Config without listeners or routes")
		case err != nil && c != nil:
			t.Error("a Config beside an error")
		case err != nil:
			checkPositions(t, data, err)
		}
	})
}
