// Package consul_test shows the Consul source against a real agent.
package consul_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
