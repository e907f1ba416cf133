package envoytest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A notebook is a test that only takes notes of its faults.
type notebook struct {
	testing.TB
	faults []string
}

func (n *notebook) Errorf(format string, args ...any) {
	n.faults = append(n.faults, fmt.Sprintf(format, args...))
}

func told(t *testing.T, name string, spoil func(*render.Bundle)) envoytest.Told {
	t.Helper()
	b, err := render.Resources(&proxy.Config{
		ID: proxy.ID{Mesh: "default", Name: "web-1"},
		Outbounds: []proxy.Outbound{{
			Name: "api", Service: "api", Protocol: proxy.HTTP,
			Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:10001"), netip.MustParseAddrPort("[::1]:10001")},
			Routes: proxy.Routes{Rules: []proxy.Route{{To: []proxy.Weighted{{Cluster: "api", Weight: 1}}}}},
		}},
		Clusters: []proxy.Cluster{{Name: "api", Service: "api", HTTP2: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	spoil(b)
	return envoytest.Told{Name: name, Bundle: b, Endpoints: []*endpointv3.ClusterLoadAssignment{render.Endpoints(proxy.Endpoints{
		Cluster: "api", Members: []proxy.Endpoint{{Address: netip.MustParseAddrPort("192.0.2.1:80")}},
	})}}
}

// TestAcceptFindsTheOne has one spoilt configuration among good ones that bear
// the same names and addresses.
func TestAcceptFindsTheOne(t *testing.T) {
	good := func(*render.Bundle) {}
	tests := []struct {
		name  string
		spoil func(*render.Bundle)
		want  []string
	}{
		{"nothing", good, nil},
		{"a cluster that is not valid", func(b *render.Bundle) {
			b.Clusters[0].Message.(*clusterv3.Cluster).CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{
				LocalityConfigSpecifier: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{},
			}
			b.Clusters[0].Message.(*clusterv3.Cluster).LbPolicy = clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG
		}, []string{"the spoilt one", "load_balancing_policy"}},
		{"a route that listeners fetch", func(b *render.Bundle) {
			b.Routes[0].Message.(*routev3.RouteConfiguration).VirtualHosts[0].Domains = []string{"*", "*"}
		}, []string{"the spoilt one", "domain"}},
		{"a route that is missing", func(b *render.Bundle) { b.Routes = nil }, []string{"the spoilt one", "outbound:api", "not rendered"}},
		{"a route too many", func(b *render.Bundle) {
			b.Routes = append(b.Routes, render.Resource{Name: "outbound:db", Message: &routev3.RouteConfiguration{Name: "outbound:db"}})
		}, []string{"the spoilt one", "no listener asks", "outbound:db"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ENVOY", envoytest.Binary(t))
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			before := proto.CloneOf(told(t, "", good).Bundle.Clusters[0].Message.(*clusterv3.Cluster))
			var all []envoytest.Told
			for i := range 7 {
				all = append(all, told(t, fmt.Sprint("good ", i), good))
			}
			all = append(all[:5], append([]envoytest.Told{told(t, "the spoilt one", tt.spoil)}, all[5:]...)...)
			for _, when := range []string{"at first", "again"} {
				n := &notebook{TB: t}
				envoytest.Accept(n, all...)
				text := strings.Join(n.faults, "\n")
				if len(n.faults) != min(len(tt.want), 1) {
					t.Errorf("%s: faults %q", when, n.faults)
				}
				for _, want := range tt.want {
					if !strings.Contains(text, want) {
						t.Errorf("%s: %q is not in %q", when, want, text)
					}
				}
				if strings.Contains(text, "good") {
					t.Errorf("%s: a good one is blamed: %q", when, text)
				}
			}
			if !proto.Equal(before, all[0].Bundle.Clusters[0].Message) {
				t.Error("what was asked about is changed")
			}
		})
	}
}
