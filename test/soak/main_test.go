// Package soak_test lets Steelyard run for long under everything at once:
// traffic of all kinds, clients that leave or are slow, backends that come and
// go, reloads. Memory, goroutines and files may not grow, and no answer may be
// wrong. A minute by default; `make soak` runs an hour.
package soak_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
