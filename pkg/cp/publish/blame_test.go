package publish

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestOrigins(t *testing.T) {
	from := func(kind, name string) proxy.Origin { return proxy.Origin{Kind: kind, Name: name} }
	c := &proxy.Config{
		Inbounds: []proxy.Inbound{{
			Name: "8080", Listen: netip.MustParseAddrPort("192.0.2.1:8080"), Access: proxy.Access{Policy: "web-to-api"},
			Faults: []proxy.Fault{{From: from("FaultInjection", "slow")}},
		}},
		Outbounds: []proxy.Outbound{
			{Name: "api", Listen: []netip.AddrPort{netip.MustParseAddrPort("240.0.0.1:80")}, Retry: &proxy.Retry{From: from("Retry", "often")}},
			{Name: "db", Retry: &proxy.Retry{From: from("Retry", "never")}},
		},
		Clusters: []proxy.Cluster{{Name: "api", TimeoutsFrom: from("Timeout", "t1")}, {Name: "db", TimeoutsFrom: from("Timeout", "t2")}},
	}
	tests := []struct{ kind, resource, want string }{
		{"clusters", "api", `[Timeout "t1"]`},
		{"endpoints", "db", `[Timeout "t2"]`},
		{"listeners", "inbound:192.0.2.1:8080", `[FaultInjection "slow" TrafficPermission "web-to-api"]`},
		{"listeners", "outbound:240.0.0.1:80", `[Retry "often"]`},
		{"routes", "outbound:db", `[Retry "never"]`},
		{"listeners", "outbound:passthrough", `[FaultInjection "slow" Retry "often" Retry "never" Timeout "t1" Timeout "t2"]`},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(origins(c, tt.kind, []string{tt.resource})); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.kind, tt.resource, got, tt.want)
		}
	}
	c.Template = &proxy.Template{From: from("ProxyTemplate", "mine")}
	if got := fmt.Sprint(origins(c, "clusters", []string{"mine"})); got != `[FaultInjection "slow" Retry "often" Retry "never" Timeout "t1" Timeout "t2" ProxyTemplate "mine"]` {
		t.Errorf("with a template: %s", got)
	}
	if got := fmt.Sprint(origins(c, "clusters", []string{"api"})); got != `[Timeout "t1" ProxyTemplate "mine"]` {
		t.Errorf("with a template: %s", got)
	}
}
