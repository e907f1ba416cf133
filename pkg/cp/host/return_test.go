package host_test

import (
	"crypto/tls"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/token"
)

// BenchmarkHandshake is what one host costs that comes back, both ends
// together: TLS 1.3 with both certificates, as agents make it.
func BenchmarkHandshake(b *testing.B) {
	w := newWorld(b)
	cert := w.agent(b, w.token(b, token.Claims{}), doc("default", "web-1", "web"))
	cfg := &tls.Config{
		RootCAs: w.own.Pool(), ServerName: "127.0.0.1", Time: w.clock, NextProtos: []string{"h2"},
		Certificates: []tls.Certificate{*cert},
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			conn, err := tls.Dial("tcp", w.address, cfg)
			if err != nil {
				b.Error(err)
				return
			}
			_ = conn.Close()
		}
	})
}
