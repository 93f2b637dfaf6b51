package app

import "testing"

func TestConnectionsForOpenFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files uint64
		want  int
	}{
		{"none at all", 0, 0},
		{"hardly any", 64, 24},
		{"the default of many shells", 1024, 384},
		{"a hard limit of old", 4096, 1792},
		{"what systemd allows", 524288, 261888},
		{"no limit", 1<<63 - 1, mostConnections},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := connectionsFor(tt.files); got != tt.want {
				t.Errorf("%d connections for %d files, want %d", got, tt.files, tt.want)
			}
		})
	}
}
