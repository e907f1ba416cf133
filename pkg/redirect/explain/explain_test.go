package explain

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/redirect"
)

var addr = netip.MustParseAddrPort

// host is 198.51.100.11, and everything is in its rules.
var host = Host{Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("2001:db8:57::b")}}

func rules() redirect.Rules {
	prefix := netip.MustParsePrefix
	return redirect.Rules{
		Marks: redirect.Marks{Mask: 0x3000, Outbound: 0x1000, Inbound: 0x2000, Agent: 0x3000},
		Proxy: redirect.Owners{UIDs: []uint32{1337}},
		Inbound: redirect.Inbound{To: 15006, Ports: []redirect.PortRange{{First: 8080, Last: 8090}},
			ExcludeSources: []netip.Prefix{prefix("198.51.100.12/32")}, ExcludeInterfaces: []string{"wg*"}},
		Outbound: redirect.Outbound{To: 15001, Forwarded: []string{"docker0"},
			Exclude:      redirect.Owners{UIDs: []uint32{4242}, GIDs: []uint32{27}, Cgroups: []string{"system.slice/backup.service"}},
			ExcludePorts: []redirect.PortRange{{First: 25, Last: 25}}, ExcludeDestinations: []netip.Prefix{prefix("10.0.0.0/8")}, ExcludeInterfaces: []string{"eth1"}},
		DNS:  redirect.DNS{To: 15053, Exclude: redirect.Owners{UIDs: []uint32{101}}},
		VIPs: []netip.Prefix{prefix("240.0.0.0/4"), prefix("fd57:6566:7400::/64")},
	}
}

func TestExplain(t *testing.T) {
	all := func(r *redirect.Rules) { r.Inbound.Ports, r.Inbound.All = nil, true }
	only := func(r *redirect.Rules) { r.Outbound.Only.Cgroups = []string{"system.slice/api.service"} }
	for _, c := range []struct {
		name    string
		flow    Flow
		change  func(*redirect.Rules)
		over    bool
		verdict Verdict
		rule    string
	}{
		{"F1 to another host", Flow{To: addr("192.0.2.1:80")}, nil, false, Outbound, "outbound.to"},
		{"F1 in IPv6", Flow{To: addr("[2001:db8::1]:80")}, nil, false, Outbound, "outbound.to"},
		{"F1 of a mapped socket", Flow{To: addr("[::ffff:192.0.2.1]:80")}, nil, false, Outbound, "outbound.to"},
		{"F1 to a service", Flow{To: addr("240.1.2.3:80")}, nil, false, Outbound, "vips"},
		{"F2", Flow{To: addr("198.51.100.11:8080"), Mark: 0x1000}, nil, false, Inbound, "inbound.ports"},
		{"F2 of a proxy that has no marks", Flow{To: addr("198.51.100.11:8080"), Owner: Owner{UID: 1337}}, nil, false, Direct, "inbound"},
		{"F3", Flow{To: addr("198.51.100.11:8080")}, nil, false, Direct, "inbound"},
		{"F3 to loopback", Flow{To: addr("127.0.1.1:8080")}, nil, false, Direct, "inbound"},
		{"F4", Flow{To: addr("127.0.0.1:8080"), Mark: 0x2000}, nil, false, Direct, "inbound"},
		{"F5 by mark", Flow{To: addr("192.0.2.1:80"), Mark: 0x1000 | 0x4000}, nil, false, Direct, "marks.outbound"},
		{"F5 by user", Flow{To: addr("192.0.2.1:80"), Owner: Owner{UID: 1337}}, nil, false, Direct, "proxy"},
		{"F5 agent's query", Flow{UDP: true, To: addr("192.0.2.1:53"), Mark: 0x3000}, nil, false, Direct, "marks.agent"},
		{"another's mark", Flow{To: addr("192.0.2.1:80"), Mark: 0x4000}, nil, false, Outbound, "outbound.to"},

		{"excluded destination", Flow{To: addr("10.1.2.3:80")}, nil, false, Direct, "outbound.excludeDestinations"},
		{"excluded port", Flow{To: addr("192.0.2.1:25")}, nil, false, Direct, "outbound.excludePorts"},
		{"excluded user", Flow{To: addr("192.0.2.1:80"), Owner: Owner{UID: 4242}}, nil, false, Direct, "outbound.exclude"},
		{"excluded group", Flow{To: addr("192.0.2.1:80"), Owner: Owner{GID: 27}}, nil, false, Direct, "outbound.exclude"},
		{"excluded unit", Flow{To: addr("192.0.2.1:80"), Owner: Owner{Cgroup: "system.slice/backup.service/x"}}, nil, false, Direct, "outbound.exclude"},
		{"a unit that begins alike", Flow{To: addr("192.0.2.1:80"), Owner: Owner{Cgroup: "system.slice/backup.service2"}}, nil, false, Outbound, "outbound.to"},
		{"excluded interface", Flow{To: addr("192.0.2.1:80"), Out: "eth1"}, nil, false, Direct, "outbound.excludeInterfaces"},
		{"services have no exclusions", Flow{To: addr("240.1.2.3:25"), Owner: Owner{UID: 4242}}, nil, false, Outbound, "vips"},
		{"outside of the scope", Flow{To: addr("240.1.2.3:80")}, only, false, Direct, "outbound.only"},
		{"in the scope", Flow{To: addr("240.1.2.3:80"), Owner: Owner{Cgroup: "system.slice/api.service"}}, only, false, Outbound, "vips"},
		{"UDP", Flow{UDP: true, To: addr("192.0.2.1:443")}, nil, false, Direct, "outbound.to"},

		{"query", Flow{UDP: true, To: addr("192.0.2.1:53")}, nil, false, Agent, "dns.to"},
		{"query over TCP", Flow{To: addr("127.0.0.53:53")}, nil, false, Agent, "dns.to"},
		{"query of a resolver", Flow{UDP: true, To: addr("192.0.2.1:53"), Owner: Owner{UID: 101}}, nil, false, Direct, "dns.exclude"},
		{"query of a resolver over TCP", Flow{To: addr("192.0.2.1:53"), Owner: Owner{UID: 101}}, nil, false, Direct, "dns.exclude"},

		{"inbound", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:8081")}, nil, false, Inbound, "inbound.ports"},
		{"inbound, undeclared", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:22")}, nil, false, Direct, "inbound.ports"},
		{"inbound, every port", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:22")}, all, false, Inbound, "inbound.all"},
		{"inbound from an excluded source", Flow{In: "eth0", From: addr("198.51.100.12:40000"), To: addr("198.51.100.11:8080")}, nil, false, Direct, "inbound.excludeSources"},
		{"inbound by an excluded interface", Flow{In: "wg0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:8080")}, nil, false, Direct, "inbound.excludeInterfaces"},
		{"the inbound listener", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:15006")}, nil, false, Refused, "inbound.to"},
		{"the outbound listener", Flow{To: addr("127.0.0.1:15001")}, nil, false, Refused, "outbound.to"},
		{"forwarded", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("203.0.113.1:8080")}, nil, false, Direct, "inbound"},
		{"forwarded for containers", Flow{In: "docker0", From: addr("172.17.0.2:40000"), To: addr("203.0.113.1:80")}, nil, false, Outbound, "outbound.to"},

		{"the lease is over", Flow{To: addr("192.0.2.1:80")}, lease, true, Direct, "failOpen"},
		{"the lease is over, query", Flow{UDP: true, To: addr("192.0.2.1:53")}, lease, true, Direct, "failOpen"},
		{"the lease is over, service", Flow{To: addr("240.1.2.3:80")}, lease, true, Outbound, "vips"},
		{"the lease is over, inbound", Flow{In: "eth0", From: addr("198.51.100.10:40000"), To: addr("198.51.100.11:8081")}, lease, true, Inbound, "inbound.ports"},
		{"the trial is over", Flow{To: addr("240.1.2.3:80")}, trial, true, Direct, "confirmWithin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, h := rules(), host
			if c.change != nil {
				c.change(&r)
			}
			h.LeaseOver, h.TrialOver = c.over, c.over
			d := Final(Explain(r, c.flow, h))
			if d.Verdict != c.verdict || d.Rule != c.rule || d.Why == "" || strings.Contains(d.Why, "%!") {
				t.Errorf("%s is decided by %+v, want %s by %s", c.flow, d, c.verdict, c.rule)
			}
			if to := map[Verdict]uint16{Outbound: 15001, Inbound: 15006, Agent: 15053}[d.Verdict]; d.Port != to {
				t.Errorf("%+v, want port %d", d, to)
			}
		})
	}
}

func lease(r *redirect.Rules) { r.FailOpen = time.Minute }
func trial(r *redirect.Rules) { r.ConfirmWithin = time.Minute }
