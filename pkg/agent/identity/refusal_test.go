package identity

import (
	"net"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/token"
)

// TestJoinWhereNobodyListens has a join fail in words with a remedy and without
// gRPC's.
func TestJoinWhereNobodyListens(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.7.7.1:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	must(t, err)
	o := w.options(t, token.Claims{})
	o.Addresses = []string{l.Addr().String()}
	must(t, l.Close())
	_, err = Join(t.Context(), o)
	if err == nil {
		t.Fatal("joined where nobody listens")
	}
	for _, want := range []string{"join at " + o.Addresses[0] + ": dial tcp", "refused", "; is weft-cp up, and does a firewall"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not have %q: %v", want, err)
		}
	}
	for _, not := range []string{"desc =", "transport:", `"`} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("the error has gRPC's %q: %v", not, err)
		}
	}
}
