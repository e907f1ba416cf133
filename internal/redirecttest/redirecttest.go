//go:build linux

// Package redirecttest holds every engine of package redirect to one behaviour.
//
// Each case makes hosts of its own, applies rules by the engine under test, and
// then asks with real sockets what became of connections and queries. Nothing
// in it knows how an engine does its work; what only the engine can know, such
// as how its rules are broken one by one, stands in its Engine.
//
// Most cases run side by side, as they wait more than they work. What an engine
// cannot do it refuses, and the suite wants to hear the refusal.
package redirecttest

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// An Engine is what the suite is told of one.
type Engine struct {
	Name string                     // unique in its test program
	New  func() redirect.Redirector // makes one that has not been used

	// Breakages are of rules Broken, by the engine's own means.
	Breakages []Breakage
	// HalfDone are scripts that leave a host as an interrupted Apply, Remove
	// or another version would.
	HalfDone map[string]string
	// Gone is a script that takes away everything of ours but routes.
	Gone string
	// ByHand is a script that takes away everything of ours and nothing else,
	// by the host's own tools.
	ByHand string
	// RouteMetric is what the engine's routes have. Scripts that speak of
	// "proto 87" get it added; 0 adds nothing.
	RouteMetric int
	// State is what a host holds of the engine beside rules of netfilter and
	// routes, as text; nil: nothing.
	State func(t *testing.T, h *testnet.Host) string
	// PlansInWords: what it sends is in no program's language, so that nobody
	// can do by hand what it plans.
	PlansInWords bool
	// WaitsWhileAway: callers of enrolled ports get no answer while the proxy
	// is away, instead of a refusal.
	WaitsWhileAway bool
	// AfterNAT: connections are taken where they look for a listener, so that
	// what the host's NAT sends elsewhere, to a container, never is.
	AfterNAT bool
	// Disturbed: rules come by several runs of a program, so that who flushes
	// all the time makes Apply fail.
	Disturbed bool
	// CgroupsByRule: a cgroup has rules of its own, so that one made anew is
	// redirected when Apply has been there.
	CgroupsByRule bool
	// Replacements is how often rules are replaced under load, where 500 times
	// take long, and Kills how often who applies them is killed, where several
	// of an engine's kinds share 200. The flag -whole has each do all.
	Replacements, Kills int
}

// A Breakage is a shell script that does damage to rules in force, and what
// Check is to tell of it, in order: each text is within one difference.
type Breakage struct {
	Name, Script string
	Want         []string
}

var whole = flag.Bool("whole", false, "replace rules 500 times and kill who applies them 200 times, however long that takes")

// often is how often a case does something, of what it does with -whole.
func often(fewer, all int) int {
	if fewer == 0 || *whole {
		return all
	}
	return fewer
}

// suite is one engine under test.
type suite struct{ Engine }

// closed is what callers of enrolled ports get while the proxy is away.
func (u suite) closed() string {
	if u.WaitsWhileAway {
		return silence
	}
	return refusal
}

// script adds what tells the engine's routes from those of others.
func (u suite) script(text string) string {
	if u.RouteMetric == 0 {
		return text
	}
	return strings.ReplaceAll(text, "proto 87", fmt.Sprintf("proto 87 metric %d", u.RouteMetric))
}

// Run tests an engine, which was given to Main too.
func Run(t *testing.T, e Engine) {
	if e.State == nil {
		e.State = func(*testing.T, *testnet.Host) string { return "" }
	}
	u := suite{e}
	type test struct {
		name string
		test func(t *testing.T)
	}
	// What is done in time, before everything else wants the processors.
	for _, c := range []test{
		{"keeper puts back", u.keeperPutsBack},
		{"a cgroup made anew", u.cgroupMadeAnew},
	} {
		t.Run(c.name, c.test)
	}
	for _, c := range []test{
		// What takes long, so that nothing waits for it at the end.
		{"replacing has no gap", u.replaceHasNoGap},
		{"killed while applying", u.killedWhileApplying},
		{"breakages", u.breakagesAreNamed},
		{"owners", u.owners},
		{"questions on one socket", u.questionsOnOneSocket},
		{"trial", u.trial},
		{"lease", u.lease},
		{"foreign writer", u.foreignWriter},

		// What is captured.
		{"flows", u.flows},
		{"the other cgroup tree", u.otherTree},
		{"two workloads", u.twoWorkloads},
		{"proxy told by owner", u.proxyToldByOwner},
		{"every port", u.everyPort},
		{"rewritten inbound", u.rewritten},
		{"inbound alone", u.inboundAlone},
		{"interfaces", u.interfaces},
		{"forwarded traffic is not ours", u.forwardedIsNotOurs},
		{"forwarded interfaces", u.forwardedInterfaces},
		{"published ports", u.publishedPorts},
		{"host firewall means what it says", u.hostFirewall},
		{"long connections", u.longConnections},
		{"earlier connections", u.earlierConnections},
		{"closed without proxy", u.closedWithoutProxy},
		{"begun meanwhile", u.begunMeanwhile},
		{"many connections from few ports", u.fanIn},
		{"DNS", u.dns},
		{"local resolver", u.localResolver},
		{"servers on one socket", u.serversOnOneSocket},
		{"agent reuses an application's port", u.agentReusesPort},
		{"only queries are zoned", u.onlyQueriesZoned},
		{"services need no route", u.servicesNeedNoRoute},
		{"routes alone lead nowhere", u.routesAlone},

		// What is promised.
		{"writers at once", u.writersAtOnce},
		{"same rules again write nothing", u.sameRulesAgain},
		{"removal leaves nothing", u.removalLeavesNothing},
		{"removal by hand", u.removalByHand},
		{"removal by another version", u.removalByAnotherVersion},
		{"neighbours are left alone", u.neighboursAreLeftAlone},
		{"half done is mended", u.halfDoneIsMended},
		{"several tables share a host", u.severalTables},
		{"long lists", u.longLists},
		{"ranges at the ends", u.rangesAtTheEnds},
		{"open without proxy", u.openWithoutProxy},
		{"renewal", u.renewal},
		{"long connections outlive a trial", u.longConnectionsOutliveTrial},
		{"a trial is armed anew", u.trialIsArmedAnew},
		{"bad input touches nothing", u.badInput},
		{"host without IPv6", u.hostWithoutIPv6},
		{"description", u.description},
		{"plans", u.plans},
		{"not permitted", u.notPermitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

// Broken are the rules in force when a Breakage happens: an entry in every list
// that every engine can have.
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

// Everything redirects ports 8080 and 9000-9010, all outbound and DNS.
func Everything() redirect.Rules { return everything() }

func everything() redirect.Rules {
	return redirect.Rules{
		Marks:    redirect.Marks{Mask: markMask, Outbound: markOutbound, Inbound: markInbound, Agent: markAgent},
		Inbound:  redirect.Inbound{To: inboundPort, Ports: []redirect.PortRange{{First: 8080, Last: 8080}, {First: 9000, Last: 9010}}},
		Outbound: redirect.Outbound{To: outboundPort},
		DNS:      redirect.DNS{To: agentDNS},
		VIPs:     []netip.Prefix{netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd57:6566:7400::/64")},
	}
}

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
	return h.Do(func() error { return u.New().Apply(t.Context(), r) })
}

func (u suite) install(t *testing.T, h *testnet.Host, r redirect.Rules) {
	t.Helper()
	testnet.SkipIfUnsupported(t, u.apply(t, h, r))
}

// refuses reports that the engine has no means for rules. Then it says so, and
// touches nothing.
func (u suite) refuses(t *testing.T, h *testnet.Host, r redirect.Rules) bool {
	t.Helper()
	before := u.snapshot(t, h)
	err := u.apply(t, h, r)
	if err == nil {
		return false
	}
	if !errors.Is(err, redirect.ErrNotSupported) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, u.snapshot(t, h)); diff != "" {
		t.Errorf("what was refused (%v) changed the host (-before +after):\n%s", err, diff)
	}
	t.Logf("%s refuses: %v", u.Name, err)
	return true
}

func (u suite) check(t *testing.T, h *testnet.Host, r redirect.Rules) []redirect.Difference {
	t.Helper()
	var d []redirect.Difference
	if err := h.Do(func() (err error) {
		d, err = u.New().Check(t.Context(), r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// differs tells the first difference, or "".
func (u suite) differs(t *testing.T, h *testnet.Host, r redirect.Rules) string {
	t.Helper()
	for _, d := range u.check(t, h, r) {
		return d.String()
	}
	return ""
}

// agrees fails the test where the host differs from rules.
func (u suite) agrees(t *testing.T, h *testnet.Host, r redirect.Rules) {
	t.Helper()
	if d := u.check(t, h, r); len(d) > 0 {
		t.Errorf("the host differs: %v", d[:min(len(d), 5)])
	}
}

func (u suite) uninstall(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.Do(func() error { return u.New().Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
}
