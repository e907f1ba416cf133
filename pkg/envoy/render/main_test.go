package render_test

import (
	"os"
	"testing"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// TestMain is also the program that starts Envoy.
func TestMain(m *testing.M) {
	if was, code := envoy.Launched(); was {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
