// Package fault_test breaks backends and registries under constant load, and
// counts what clients saw of it. Nothing may be done twice, and no answer may be
// another's or spoilt; what fails is bounded, and explained by its cause. The
// tables in docs/reliability.md come from here.
package fault_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
