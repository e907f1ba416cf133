//go:build linux

package iptables

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// gone flushes everything that iptables of this kind holds.
const gone = `for p in iptables-%[1]s ip6tables-%[1]s; do for t in filter raw mangle nat; do $p -w 5 -t $t -F; $p -w 5 -t $t -X; done; done`

// byHand writes back what is not ours.
const byHand = `for p in iptables-%[1]s ip6tables-%[1]s; do $p-save | grep -v WEFT.weft. | $p-restore; done; for s in a b lease all; do ipset -q destroy WEFT.weft.$s || true; done; ip route flush proto 87; ip -6 route flush proto 87`

// sets are what the host has of them, without times.
func sets(t *testing.T, h *testnet.Host) string { return h.Run(t, "ipset", "-t", "list") }

func engines() (all []redirecttest.Engine) {
	for _, f := range flavours {
		all = append(all, redirecttest.Engine{
			Name:           string(f),
			New:            func() redirect.Redirector { return New(WithFlavour(f)) },
			Gone:           fmt.Sprintf(gone, f),
			ByHand:         fmt.Sprintf(byHand, f),
			Breakages:      breakages(f),
			HalfDone:       halfDone(f),
			RouteMetric:    int(route.Iptables),
			State:          sets,
			WaitsWhileAway: true,
			Disturbed:      true,
			CgroupsByRule:  true,
			Replacements:   60,
			Kills:          100,
		})
	}
	return all
}

func TestMain(m *testing.M) { redirecttest.Main(m, engines()...) }

func TestEngine(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.Name, func(t *testing.T) { redirecttest.Run(t, e) })
	}
}

// breakages are done to chains of the first generation, as Apply on a fresh
// host makes them.
func breakages(f Flavour) []redirecttest.Breakage {
	const flags = "--tcp-flags FIN,SYN,RST,ACK SYN"
	v4, v6 := "iptables-"+string(f)+" -w 5 ", "ip6tables-"+string(f)+" -w 5 "
	named := func(text string) string { return "-m comment --comment '" + text + "'" }
	out, calls := "-t nat %s WEFT.weft.a.output ", "-t nat %s WEFT.weft.a.outbound "
	in, input := "-t mangle %s WEFT.weft.a.inbound ", "-t filter %s WEFT.weft.a.input "
	do := func(program, where, verb, rule string) string {
		return program + fmt.Sprintf(where, verb) + rule + "; "
	}
	toProxy := "-p tcp " + named("outbound: to the proxy") + " -j REDIRECT --to-ports 15001"
	users := "-m owner --uid-owner 4242 " + named("outbound: excluded user 4242")
	mark := "-m mark --mark 0x1000/0x3000 -m comment --comment \"outbound: the proxy's calls to peers go straight\" -j RETURN"
	tproxy := "-p tcp -m tcp " + flags + " " + named("inbound: to the proxy") + " -j TPROXY --on-port "
	jump := "-p tcp -m comment --comment 'weft: redirection of table weft' -j WEFT.weft.input"
	return []redirecttest.Breakage{
		{Name: "everything", Script: fmt.Sprintf(gone, f) + "; ip route flush proto 87", Want: []string{
			"IPv4 redirection of table weft is missing", "IPv6 redirection of table weft is missing", "route 240.0.0.0/4 dev lo is missing"}},
		{Name: "a jump", Script: do(v4, "-t filter %s INPUT ", "-D", jump), Want: []string{"the jump from filter INPUT to IPv4 chain input is missing"}},
		{Name: "the IPv6 jump", Script: do(v6, "-t filter %s INPUT ", "-D", jump), Want: []string{"the jump from filter INPUT to IPv6 chain input is missing"}},
		{Name: "a jump twice", Script: do(v4, "-t filter %s INPUT ", "-A", jump), Want: []string{"a jump from filter INPUT to IPv4 chain WEFT.weft.input is left over"}},
		{Name: "a jump behind what accepts", Script: v4 + "-t filter -I INPUT 1 -i lo -j ACCEPT", Want: []string{`behind "-i lo -j ACCEPT", is in the wrong place`}},
		{Name: "a jump's condition", Script: do(v4, "-t filter %s INPUT ", "-R", "1 "+"-p udp -j WEFT.weft.input"), Want: []string{"the jump from filter INPUT to IPv4 chain input is changed"}},
		{Name: "rules", Script: v4 + "-t filter -F WEFT.weft.a.input", Want: []string{
			`rule "input: the inbound listener is not called directly" in IPv4 chain input is missing`,
			`rule "input: the outbound listener is not called directly" in IPv4 chain input is missing`}},
		{Name: "a chain", Script: v4 + "-t filter -F WEFT.weft.input;" + v4 + "-t filter -F WEFT.weft.a.input;" + v4 + "-t filter -X WEFT.weft.a.input",
			Want: []string{"the way from IPv4 chain WEFT.weft.input to generation a is missing", "IPv4 chain input is missing"}},
		{Name: "a gate", Script: do(v4, "-t filter %s INPUT ", "-D", jump) + v4 + "-t filter -F WEFT.weft.input;" + v4 + "-t filter -X WEFT.weft.input",
			Want: []string{"the jump from filter INPUT to IPv4 chain input is missing", "IPv4 chain WEFT.weft.input is missing"}},
		{Name: "a gate's condition", Script: v4 + "-t raw -R WEFT.weft.dns 1 -g WEFT.weft.a.dns", Want: []string{"the way from IPv4 chain WEFT.weft.dns to generation a is missing"}},
		{Name: "what is switched on", Script: "ipset flush WEFT.weft.a", Want: []string{"redirection of table weft is switched off"}},
		{Name: "the other generation", Script: "ipset add WEFT.weft.b WEFT.weft.all", Want: []string{"the other generation of table weft, switched on, is left over"}},
		{Name: "the set of all packets", Script: "ipset del WEFT.weft.all 80", Want: []string{"set WEFT.weft.all is changed"}},
		{Name: "a set more", Script: "ipset create WEFT.weft.more bitmap:port range 0-1", Want: []string{"set WEFT.weft.more is left over"}},
		{Name: "one rule", Script: do(v4, calls, "-D", toProxy), Want: []string{`rule "outbound: to the proxy" in IPv4 chain outbound is missing`}},
		{Name: "one IPv6 rule", Script: do(v6, calls, "-D", toProxy), Want: []string{`rule "outbound: to the proxy" in IPv6 chain outbound is missing`}},
		{Name: "a rule's port", Script: do(v4, in, "-D", tproxy+"15006") + do(v4, in, "-I", "$((4 + $(ls -d /proc/sys/net/bridge 2>/dev/null | wc -l))) "+tproxy+"15007"),
			Want: []string{`rule "inbound: to the proxy" in IPv4 chain inbound is changed`}},
		{Name: "a rule's verdict", Script: do(v4, calls, "-D", users+" -j RETURN") + do(v4, calls, "-I", "10 "+users+" -j ACCEPT"),
			Want: []string{`rule "outbound: excluded user 4242" in IPv4 chain outbound is changed`}},
		{Name: "a rule's mask", Script: do(v4, out, "-R", "2 -m mark --mark 0x1000/0x1000 -m comment --comment \"outbound: the proxy's calls to peers go straight\" -j RETURN"),
			Want: []string{`rule "outbound: the proxy's calls to peers go straight" in IPv4 chain output is changed`}},
		{Name: "a rule more", Script: do(v4, out, "-I", "1 -p tcp --dport 443 -j RETURN"), Want: []string{`rule 1 ("") in IPv4 chain output is not ours`}},
		{Name: "a rule twice", Script: do(v4, calls, "-A", toProxy), Want: []string{`("outbound: to the proxy") in IPv4 chain outbound is not ours`}},
		{Name: "the order", Script: do(v4, out, "-D", mark) + do(v4, out, "-A", mark), Want: []string{`in IPv4 chain output is in the wrong place`}},
		{Name: "a chain more", Script: v4 + "-t nat -N WEFT.weft.extra", Want: []string{"IPv4 chain WEFT.weft.extra is not ours"}},
		{Name: "an older generation", Script: v4 + "-t nat -N WEFT.weft.b.output;" + do(v4, input, "-A", "-j RETURN"),
			Want: []string{`rule 3 ("") in IPv4 chain input is not ours`, "IPv4 chain WEFT.weft.b.output is left over"}},
	}
}

func halfDone(f Flavour) map[string]string {
	v4, other := "iptables-"+string(f), map[Flavour]string{NFT: "iptables-legacy", Legacy: "ip6tables-nft"}[f]
	return map[string]string{
		"chains without a jump": v4 + " -t nat -N WEFT.weft.b.output; " + v4 + " -t nat -A WEFT.weft.b.output -p tcp -j REDIRECT --to-ports 1",
		"another version's chains": v4 + " -t mangle -N WEFT.weft.c.more; " + v4 + " -t mangle -A PREROUTING -j WEFT.weft.c.more; " +
			v4 + " -t mangle -N mine; " + v4 + " -t mangle -A mine -j WEFT.weft.c.more; " + v4 + " -t mangle -F mine; " + v4 + " -t mangle -X mine",
		"the other kind of iptables": other + " -t nat -N WEFT.weft.a.output; " + other + " -t nat -A OUTPUT -j WEFT.weft.a.output",
		"sets alone":                 "ipset create WEFT.weft.all bitmap:port range 0-65535; ipset create WEFT.weft.a list:set; ipset add WEFT.weft.a WEFT.weft.all",
		"two generations":            v4 + " -t raw -N WEFT.weft.a.dns; " + v4 + " -t raw -N WEFT.weft.b.dns; " + v4 + " -t raw -A OUTPUT -j WEFT.weft.b.dns; " + v4 + " -t raw -A OUTPUT -j WEFT.weft.a.dns",
	}
}
