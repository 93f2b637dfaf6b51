package admin

import "net/http"

// readOnly is why nothing can be changed, as the dashboard and refusals say it.
const readOnly = "the admin API is read-only (admin.read_only in the configuration)"

// sessionView is who asks, and what they may do. The dashboard asks for it first:
// 401 means that a token is needed, or that the one shown is wrong.
type sessionView struct {
	Who         string `json:"who"`          // loopback, unix socket, token, token_file, certificate NAME
	From        string `json:"from"`         // address; "" for a unix socket
	TokenNeeded bool   `json:"token_needed"` // each call shows one
	ReadOnly    bool   `json:"read_only"`
	Why         string `json:"why,omitempty"` // nothing can be changed
	Version     string `json:"version"`
}

func (s *Server) showSession(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r)
	v := sessionView{Who: c.who, From: c.from, TokenNeeded: s.access.tokens != nil, ReadOnly: s.access.ReadOnly, Version: s.version}
	if v.ReadOnly {
		v.Why = readOnly
	}
	writeJSON(w, http.StatusOK, v)
}
