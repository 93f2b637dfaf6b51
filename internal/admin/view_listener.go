package admin

import (
	"net/http"
	"time"

	"steelyard/internal/metrics"
)

// listenerView is one listener.
type listenerView struct {
	Name        string   `json:"name"`
	Address     string   `json:"address"`
	Connections int64    `json:"connections"`
	Accepted    int64    `json:"accepted"`
	TLS         *tlsView `json:"tls,omitempty"`
}

// tlsView is its TLS.
type tlsView struct {
	Handshakes   int64             `json:"handshakes"`
	Resumed      int64             `json:"resumed"`
	Failed       map[string]int64  `json:"failed"`
	ClientCA     string            `json:"client_ca_problem,omitempty"`
	Certificates []certificateView `json:"certificates"`
}

// certificateView is one of its certificates.
type certificateView struct {
	File     string    `json:"file"`
	Hosts    []string  `json:"hosts"`
	Key      string    `json:"key"`
	Issuer   string    `json:"issuer"`
	Serial   string    `json:"serial"`
	From     time.Time `json:"not_before"`
	Until    time.Time `json:"not_after"`
	Expiring bool      `json:"expiring,omitempty"`
	Problem  string    `json:"problem,omitempty"`
	OCSP     string    `json:"ocsp"`
}

func (s *Server) listListeners(w http.ResponseWriter, _ *http.Request) {
	list := []listenerView{}
	for _, l := range s.control.ListenerSamples() {
		v := listenerView{Name: l.Name, Address: l.Address, Connections: l.Connections, Accepted: l.Accepted}
		if l.TLS != nil {
			v.TLS = viewTLS(l.TLS)
		}
		list = append(list, v)
	}
	writeJSON(w, http.StatusOK, map[string]any{"listeners": list})
}

func viewTLS(s *metrics.TLSSample) *tlsView {
	v := &tlsView{Failed: map[string]int64{}, ClientCA: s.ClientProblem, Certificates: []certificateView{}}
	for _, version := range s.Handshakes {
		v.Handshakes += version[0] + version[1]
		v.Resumed += version[1]
	}
	for _, f := range s.Failed {
		if f.Count > 0 {
			v.Failed[f.Cause] = f.Count
		}
	}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		v.Certificates = append(v.Certificates, certificateView{
			File: c.File, Hosts: c.Hosts, Key: c.KeyType, Issuer: c.Issuer, Serial: c.Serial,
			From: c.From, Until: c.Until, Expiring: c.Expiring, Problem: c.Problem, OCSP: c.OCSP,
		})
	}
	return v
}
