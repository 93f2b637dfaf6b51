package healthcheck

// Machine turns the results of checks into a state: a healthy backend becomes
// unhealthy after fall failures in a row, an unhealthy one healthy after rise
// passes in a row, and in state Checking the first result decides alone. It
// knows no time and is not safe for concurrent use. Make it with NewMachine.
type Machine struct {
	state      State
	rise, fall int
	streak     int // results in a row that speak against state
}

// NewMachine makes a machine in state start. A rise or fall below 1 counts as 1.
func NewMachine(start State, rise, fall int) Machine {
	return Machine{state: start, rise: max(rise, 1), fall: max(fall, 1)}
}

// State is the state in force.
func (m *Machine) State() State { return m.state }

// Observe takes the next result and reports whether it has changed the state.
func (m *Machine) Observe(ok bool) (changed bool) {
	to := Unhealthy
	if ok {
		to = Healthy
	}
	if to == m.state {
		m.streak = 0
		return false
	}
	m.streak++
	if _, of := m.Progress(); m.streak < of {
		return false
	}
	m.state, m.streak = to, 0
	return true
}

// Progress says how far the next change is: n results in a row of the of that it
// takes speak for it. They are failures of a healthy backend, passes of an
// unhealthy one, and any result of one that is being checked.
func (m *Machine) Progress() (n, of int) {
	switch m.state {
	case Healthy:
		return m.streak, m.fall
	case Unhealthy:
		return m.streak, m.rise
	}
	return m.streak, 1
}

// Changing reports whether the state is not settled: no result has come, or the
// last ones speak against the state.
func (m *Machine) Changing() bool { return m.state == Checking || m.streak > 0 }

// SetThresholds replaces rise and fall. State and progress stay; a change that
// would be due by the new numbers waits for one more result.
func (m *Machine) SetThresholds(rise, fall int) {
	m.rise, m.fall = max(rise, 1), max(fall, 1)
	_, of := m.Progress()
	m.streak = min(m.streak, of-1)
}
