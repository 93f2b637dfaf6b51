// Package harness runs the scenarios: it builds steelyard once, starts it and
// real Node.js processes on free ports of 127.0.0.1, speaks raw HTTP/1.1 and
// WebSocket where exact bytes matter, and waits for conditions with deadlines.
//
// Everything started here belongs to the test that started it and is stopped,
// by process id, when that test ends; what it printed is shown if the test
// failed. The package knows Steelyard only as a binary and a YAML file.
package harness
