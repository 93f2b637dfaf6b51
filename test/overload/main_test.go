package overload_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
