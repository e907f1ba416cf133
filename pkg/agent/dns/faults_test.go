package dns

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestFaultsOfResolvers has the host's resolvers fail in every way while names
// of the mesh are asked for: those are answered at once and never leave the host,
// and others are as soon as one resolver is well. (F37)
func TestFaultsOfResolvers(t *testing.T) {
	address := func(ttl uint32) behave {
		return func(_ string, q []byte) [][]byte { return [][]byte{response(q, dnsmessage.RCodeSuccess, ttl, 0)} }
	}
	flood := func(_ string, q []byte) (out [][]byte) {
		for i := range 2000 {
			forged := slices.Clone(response(q, dnsmessage.RCodeSuccess, 60, 0))
			forged[0] ^= byte(i>>8) | 1 // another id
			out = append(out, forged)
		}
		return append(out, response(q, dnsmessage.RCodeSuccess, 60, 0))
	}
	large := func(network string, q []byte) [][]byte {
		if network == "udp" {
			b := response(q, dnsmessage.RCodeSuccess, 60, 0)
			b[2] |= bitTruncated
			return [][]byte{b}
		}
		return [][]byte{txt(q, strings.Repeat("x", 60_000), dnsmessage.RCodeSuccess)}
	}
	for _, c := range []struct {
		fault   string
		first   behave // nil: nobody listens there
		second  behave
		network string
		within  time.Duration // of the first query; the next ones take none of it
		want    string
	}{
		{"dead", nil, address(60), "udp4", patience, "Success public.example. 60 A 192.0.2.1"},
		{"slow", silent, address(60), "udp4", patience, "Success public.example. 60 A 192.0.2.1"},
		{"all slow", silent, silent, "udp4", patience, "ServerFailure public.example."},
		{"broken", fails(dnsmessage.RCodeServerFailure), address(60), "udp4", patience, "Success public.example. 60 A 192.0.2.1"},
		{"flooding", flood, address(7), "udp4", patience, "Success public.example. "},
		{"TTL 0", address(0), address(0), "udp4", patience, "Success public.example. 0 A 192.0.2.1"},
		{"huge answers", large, large, "tcp4", patience, "Success public.example. xxxx"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			behaviours := []behave{c.first, c.second}
			if c.first == nil {
				behaviours[0] = silent
			}
			port, ups := upstreams(t, behaviours...)
			servers := hosts(ups)
			if c.first == nil {
				servers[0] = "127.0.9.9"
			}
			g := newRig(t, port, servers).caching()
			g.SetNames(testNames)
			typ := dnsmessage.TypeA
			if c.network == "tcp4" {
				typ = dnsmessage.TypeTXT
			}
			answered := make(chan string, 1)
			go func() { answered <- show(g.ask(c.network, pack(9, "public.example.", typ, 0))) }()
			for range 20 { // meanwhile
				began := time.Now()
				if got := show(g.ask("udp4", pack(1, "api.mesh.", dnsmessage.TypeA, 0))); got != "Success aa api.mesh. 30 A 240.0.0.1" {
					t.Errorf("a name of the mesh: %s", got)
				}
				if took := time.Since(began); took > nextAfter {
					t.Errorf("a name of the mesh took %s", took)
				}
			}
			if got := show(g.ask("udp4", pack(1, "nobody.mesh.", dnsmessage.TypeA, 0))); got != "NameError aa nobody.mesh." {
				t.Errorf("a name that the mesh does not have: %s", got)
			}
			select {
			case got := <-answered:
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("a name outside: %.80s, want %s", got, c.want)
				}
			case <-time.After(c.within):
				t.Errorf("a name outside was not answered within %s", c.within)
			}
			for _, u := range ups {
				for _, q := range u.asked() {
					if strings.HasSuffix(q, "mesh") {
						t.Errorf("%q left the host", q)
					}
				}
			}
		})
	}
}
