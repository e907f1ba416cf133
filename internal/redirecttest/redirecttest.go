//go:build linux

// Package redirecttest holds every engine of package redirect to one behaviour.
//
// Each case makes hosts of its own, applies rules by the engine under test, and
// then asks with real sockets what became of connections and queries. Nothing
// in it knows how an engine does its work; what only the engine can know, such
// as how its rules are broken one by one, comes in as an option.
package redirecttest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// An Option tells the suite about an engine.
type Option func(*suite)

// WaitsWhileAway tells that callers of enrolled ports get no answer while the
// proxy is away, instead of a refusal.
func WaitsWhileAway() Option { return func(u *suite) { u.closed = silence } }

// A Breakage is a shell script that does damage to rules in force, and what
// Check is to tell of it, in order: each text is within one difference.
type Breakage struct {
	Name, Script string
	Want         []string
}

// Breakages are of rules Broken, by their engine's own means.
func Breakages(b ...Breakage) Option { return func(u *suite) { u.breakages = b } }

// HalfDone are scripts that leave a host as an interrupted Apply, Remove or
// another version would.
func HalfDone(scripts map[string]string) Option { return func(u *suite) { u.halfDone = scripts } }

// Gone is a script that takes away everything of ours but routes.
func Gone(script string) Option { return func(u *suite) { u.gone = script } }

// RouteMetric tells that the engine's routes have this metric. Scripts that
// speak of "proto 87" get it added.
func RouteMetric(n int) Option {
	return func(u *suite) { u.proto87 = strings.NewReplacer("proto 87", fmt.Sprintf("proto 87 metric %d", n)) }
}

// suite is one engine under test.
type suite struct {
	engine    func() redirect.Redirector
	closed    string
	breakages []Breakage
	halfDone  map[string]string
	gone      string
	proto87   *strings.Replacer
}

// Run tests an engine. Each call of engine gives one that has not been used.
func Run(t *testing.T, engine func() redirect.Redirector, opts ...Option) {
	u := suite{engine: engine, closed: refusal, proto87: strings.NewReplacer()}
	for _, o := range opts {
		o(&u)
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"flows", u.flows},
		{"mapped sockets", u.mappedSockets},
		{"long connections", u.longConnections},
		{"earlier connections", u.earlierConnections},
		{"closed without proxy", u.closedWithoutProxy},
		{"many connections from few ports", u.fanIn},
		{"DNS", u.dns},
		{"questions on one socket", u.questionsOnOneSocket},
		{"servers on one socket", u.serversOnOneSocket},
		{"agent reuses an application's port", u.agentReusesPort},
		{"only queries are zoned", u.onlyQueriesZoned},
		{"host firewall means what it says", u.hostFirewall},
		{"forwarded traffic is not ours", u.forwardedTraffic},
		{"services need no route", u.servicesNeedNoRoute},
		{"routes alone lead nowhere", u.routesAlone},
		{"replacing has no gap", u.replaceHasNoGap},
		{"writers at once", u.writersAtOnce},
		{"foreign flushes", u.foreignFlushes},
		{"same rules again write nothing", u.sameRulesAgain},
		{"removal leaves nothing", u.removalLeavesNothing},
		{"neighbours are left alone", u.neighboursAreLeftAlone},
		{"half done is mended", u.halfDoneIsMended},
		{"several tables share a host", u.severalTables},
		{"long lists", u.longLists},
		{"ranges at the ends", u.rangesAtTheEnds},
		{"breakages", u.breakagesAreNamed},
		{"bad input touches nothing", u.badInput},
		{"host without IPv6", u.hostWithoutIPv6},
		{"description", u.description},
		{"plans", u.plans},
	} {
		t.Run(c.name, c.test)
	}
	t.Run("not permitted", u.notPermitted)
}

// Broken are the rules in force when a Breakage happens.
func Broken() redirect.Rules { return withExclusions() }

const (
	inboundPort  = 15006
	outboundPort = 15001
	agentDNS     = 15053

	markMask     = 0x3000
	markOutbound = 0x1000
	markInbound  = 0x2000
	markAgent    = 0x3000
)

var (
	vip4 = netip.MustParseAddr("240.1.2.3")
	vip6 = netip.MustParseAddr("fd57:6566:7400::5")
)

// everything redirects ports 8080 and 9000-9010, all outbound and DNS.
func everything() redirect.Rules {
	return redirect.Rules{
		Marks:    redirect.Marks{Mask: markMask, Outbound: markOutbound, Inbound: markInbound, Agent: markAgent},
		Inbound:  redirect.Inbound{To: inboundPort, Ports: []redirect.PortRange{{First: 8080, Last: 8080}, {First: 9000, Last: 9010}}},
		Outbound: redirect.Outbound{To: outboundPort},
		DNS:      redirect.DNS{To: agentDNS},
		VIPs:     []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd57:6566:7400::/64")},
	}
}

// withExclusions has an entry in every list.
func withExclusions() redirect.Rules {
	r := everything()
	r.Inbound.ExcludeSources = []netip.Prefix{netip.MustParsePrefix("198.51.100.12/32"), netip.MustParsePrefix("2001:db8:57::c/128")}
	r.Outbound.ExcludePorts = []redirect.PortRange{{First: 25, Last: 25}, {First: 9443, Last: 9450}}
	r.Outbound.ExcludeDestinations = []netip.Prefix{netip.MustParsePrefix("198.51.100.12/32"), netip.MustParsePrefix("2001:db8:57::c/128"), netip.MustParsePrefix("10.0.0.0/8")}
	r.Outbound.Exclude.UIDs = []uint32{4242, 4000}
	r.DNS.Exclude.UIDs = []uint32{4353}
	return r
}

func (u suite) apply(t *testing.T, h *testnet.Host, r redirect.Rules) error {
	t.Helper()
	return h.Do(func() error { return u.engine().Apply(t.Context(), r) })
}

func (u suite) install(t *testing.T, h *testnet.Host, r redirect.Rules) {
	t.Helper()
	testnet.SkipIfUnsupported(t, u.apply(t, h, r))
}

func (u suite) check(t *testing.T, h *testnet.Host, r redirect.Rules) []redirect.Difference {
	t.Helper()
	var d []redirect.Difference
	if err := h.Do(func() (err error) {
		d, err = u.engine().Check(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (u suite) uninstall(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.Do(func() error { return u.engine().Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
}
