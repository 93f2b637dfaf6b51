package dashboard_test

import (
	"testing"

	_ "github.com/chromedp/chromedp"

	"steelyard/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
