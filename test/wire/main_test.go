// Package wire_test holds Steelyard to one reading of every message: raw bytes go
// in on one side, and what comes out on the other is compared octet by octet.
// Each case names the section of the RFC it rests on.
package wire_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
