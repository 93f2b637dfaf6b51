// Package tls_test tells how a listener speaks TLS: which certificate it shows,
// how files are exchanged under it, who may come in, and what backends, browsers
// and operators hear of it.
package tls_test

import (
	"testing"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
