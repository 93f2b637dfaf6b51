package app

import (
	"fmt"
	"log/slog"
	"os"

	"steelyard/config"
	"steelyard/discovery"
	"steelyard/internal/pool"
)

// sources makes the sources of a pool.
func (b *builder) sources(c *config.Pool) ([]pool.SourceOptions, error) {
	var all []pool.SourceOptions
	log := slog.With("pool", c.Name)
	for i := range c.Sources {
		s := &c.Sources[i]
		var o pool.SourceOptions
		var err error
		switch {
		case s.Consul != nil:
			q := *s.Consul
			q.Guard = discovery.GuardOptions{}
			o = pool.SourceOptions{Key: fmt.Sprintf("consul %d %+v", b.consulID, q), Source: b.consul.Source(q), Guard: s.Consul.Guard}
		case s.DNS != nil:
			q := *s.DNS
			q.Guard = discovery.GuardOptions{} // the pool's; a change of it does not begin the source anew
			o = pool.SourceOptions{Key: fmt.Sprintf("dns %+v", q), Guard: s.DNS.Guard}
			o.Source, err = discovery.NewDNS(*s.DNS, log)
		default:
			o = pool.SourceOptions{Key: "file " + s.File.Path, Guard: s.File.Guard}
			o.Source, err = discovery.NewFile(*s.File, decoder(s.File.Path), log)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// decoder reads the backends of a file as the configuration would.
func decoder(path string) func([]byte) ([]discovery.Member, error) {
	return func(data []byte) ([]discovery.Member, error) {
		backends, err := config.ParseBackends(path, data, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		members := make([]discovery.Member, len(backends))
		for i, be := range backends {
			members[i] = discovery.Member{Address: be.Address, Weight: be.Weight, Backup: be.Backup, MaxConnections: be.MaxConnections}
		}
		return members, nil
	}
}
