package pool

// handOver keeps members that have gone with the options before, for as long as
// some source that has come with the new ones has not answered: a source that
// has not spoken yet is not an empty set. Members of sources that have ended
// stay; static backends only if nobody else is named.
func (w *writer) handOver(static, ended []claimed) {
	if !w.awaitsSource() {
		w.outgoing = nil
		return
	}
	w.outgoing = append(ended, w.outgoing...)
	others := len(w.opts.Backends)
	for _, f := range w.feeds {
		others += len(f.members)
	}
	if others == 0 {
		w.outgoing = append(static, w.outgoing...)
	}
	seen := map[string]bool{}
	kept := w.outgoing[:0]
	for _, c := range w.outgoing {
		if !seen[c.address] {
			seen[c.address] = true
			kept = append(kept, c)
		}
	}
	w.outgoing = kept
}

// awaitsSource reports whether a source has not answered yet.
func (w *writer) awaitsSource() bool {
	for _, f := range w.feeds {
		if !f.answered {
			return true
		}
	}
	return false
}

// handedOver lets the members of before go when all sources have answered.
func (w *writer) handedOver() {
	if w.outgoing != nil && !w.awaitsSource() {
		w.outgoing, w.moved = nil, true
	}
}
