package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsersOfAFileAreChecked: what stands in the file of basic_auth is an error of
// the configuration, if the file is there.
func TestUsersOfAFileAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "steelyard.yaml")
	if err := os.WriteFile(file, []byte("listeners: {web: \":8080\"}\nroutes: [{respond: 200, basic_auth: users}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), "there is no file") {
		t.Errorf("without the file: %v", err)
	}
	for text, want := range map[string]string{
		"alice:$2a$04$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK\n": "",
		"alice:secret\n":             `users:1: "alice": auth: the hash is neither a bcrypt nor an argon2id hash; steelyard hash-password makes a right one`,
		"# \n\nbob:{SHA}x\nnobody\n": "users:4: there is no colon between a name and its hash",
	} {
		if err := os.WriteFile(filepath.Join(dir, "users"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "routes[0].basic_auth.file: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
