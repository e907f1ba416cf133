//go:build linux

package nftables

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func engine() redirecttest.Engine {
	return redirecttest.Engine{
		Name:      "nftables",
		New:       func() redirect.Redirector { return New() },
		Gone:      "nft flush ruleset",
		ByHand:    "nft delete table inet weft; ip route flush proto 87; ip -6 route flush proto 87",
		Breakages: breakages(),
		HalfDone: map[string]string{
			"another version's table": `nft 'add table inet weft; add set inet weft weft_vips { type ipv4_addr; flags interval; };
				add set inet weft weft_vips6 { type ipv6_addr; flags interval; }; add set inet weft marks { type inet_service; };
				add chain inet weft prerouting { type filter hook prerouting priority 5; }; add chain inet weft extra; add rule inet weft extra counter;
				add chain inet weft output { type filter hook output priority 0; policy drop; }; add rule inet weft output tcp dport @marks jump extra'`,
			"anybody's empty table":   "nft add table inet weft",
			"anybody's dormant table": `nft 'add table inet weft { flags dormant; }'`,
		},
	}
}

func TestMain(m *testing.M) { redirecttest.Main(m, engine()) }

func TestEngine(t *testing.T) { redirecttest.Run(t, engine()) }

// breakages name rules by their comments and sets by their roles.
func breakages() []redirecttest.Breakage {
	const replaceByName = `h=$(nft -a list chain inet weft %s | sed -n 's/.*"%s".* # handle //p'); `
	rule := func(chain, comment, verb string) string {
		s := strings.Replace(strings.Replace(replaceByName, "%s", chain, 1), "%s", comment, 1)
		return s + strings.ReplaceAll(verb, "$at", "inet weft "+chain+" handle $h")
	}
	cases := []struct {
		name, breakage string
		want           []string
	}{
		{"the table", "nft delete table inet weft", []string{"table inet weft is missing"}},
		{"everything", "nft flush ruleset; ip route flush proto 87; ip -6 route flush proto 87",
			[]string{"table inet weft is missing", "route 240.0.0.0/4 dev lo is missing", "route fd57:6566:7400::/64 dev lo is missing"}},
		{"a dormant table", `nft 'add table inet weft { flags dormant; }'`, []string{"table inet weft is switched off"}},
		{"a chain", "nft 'flush chain inet weft dns; delete chain inet weft dns'", []string{"chain dns is missing"}},
		{"rules", "nft flush chain inet weft input", []string{
			`rule "inbound: what came by a bridge" in chain input is missing`,
			`rule "input: the inbound listener is not called directly" in chain input is missing`,
			`rule "input: the outbound listener is not called directly" in chain input is missing`}},
		{"one rule", rule("inbound", "inbound: to the proxy", "nft delete rule $at"),
			[]string{`rule "inbound: to the proxy" in chain inbound is missing`}},
		{"a rule's port", rule("inbound", "inbound: to the proxy", `nft replace rule $at meta l4proto tcp tproxy to :15007 accept comment '"inbound: to the proxy"'`),
			[]string{`rule "inbound: to the proxy" in chain inbound is changed`}},
		{"a rule's verdict", rule("outbound", "outbound: excluded users", `nft replace rule $at meta skuid @$outbound_exclude_uids drop comment '"outbound: excluded users"'`),
			[]string{`rule "outbound: excluded users" in chain outbound is changed`}},
		{"a rule's mask", rule("output", "outbound: proxy and agent go straight", `nft replace rule $at meta mark '&' 0x1000 @$marks return comment '"outbound: proxy and agent go straight"'`),
			[]string{`rule "outbound: proxy and agent go straight" in chain output is changed`}},
		{"a rule more", "nft insert rule inet weft output tcp dport 443 return", []string{`rule 1 ("") in chain output is not ours`}},
		{"a rule twice", `nft add rule inet weft outbound meta l4proto tcp redirect to :15001 comment '"outbound: to the proxy"'`,
			[]string{`("outbound: to the proxy") in chain outbound is not ours`}},
		{"the order", rule("output", "outbound: proxy and agent go straight", `nft "delete rule $at; add rule inet weft output meta mark & 0x00003000 @$marks return comment \"outbound: proxy and agent go straight\""`),
			[]string{`in chain output is in the wrong place`}},
		{"a jump", rule("prerouting", "inbound: enrolled ports", `nft "add chain inet weft other; replace rule $at tcp dport @$inbound_ports jump other comment \"inbound: enrolled ports\""`),
			[]string{`rule "inbound: enrolled ports" in chain prerouting is changed`, "chain other is not ours"}},
		{"a set's element", "nft delete element inet weft $inbound_ports '{ 8080 }'", []string{"set inbound_ports_"}},
		{"an element more", "nft add element inet weft $outbound_exclude_uids '{ 0 }'", []string{"set outbound_exclude_uids_"}},
		{"a set more", "nft add set inet weft extra '{ type ipv4_addr; }'", []string{"set extra is not ours"}},
		{"a chain more", "nft add chain inet weft extra", []string{"chain extra is not ours"}},
		{"a policy", "nft 'chain inet weft input { policy drop; }'", []string{"the hook, priority or policy of chain input is changed"}},
		{"a chain's priority", "nft 'flush chain inet weft input; delete chain inet weft input; add chain inet weft input { type filter hook input priority -5; }'",
			[]string{"the hook, priority or policy of chain input is changed", "inbound: what came by a bridge", "input: the inbound listener is not called directly", "input: the outbound listener is not called directly"}},
		{"counters", rule("outbound", "outbound: to the proxy", `nft replace rule $at meta l4proto tcp counter redirect to :15001 comment '"outbound: to the proxy"'`),
			[]string{`rule "outbound: to the proxy" in chain outbound is changed`}},
	}
	sets := variables(build(redirecttest.Broken().Normal(), cgroups{}))
	var list []redirecttest.Breakage
	for _, c := range cases {
		list = append(list, redirecttest.Breakage{Name: c.name, Script: sets + c.breakage, Want: c.want})
	}
	return list
}

// variables lets a shell name by its role a set that is named after its content.
func variables(rs ruleset) (out string) {
	for _, s := range rs.sets {
		if role, ok := strings.CutSuffix(s.name, "_"+s.fingerprint()); ok {
			out += role + "=" + s.name + "; "
		}
	}
	return out
}

// Rule names are what Check tells, so they must tell rules apart.
func TestRuleNames(t *testing.T) {
	const nftLimit = 128 // NFTNL_UDATA_COMMENT_MAXLEN
	for _, c := range build(everyWord().Normal(), cgroups{}).chains {
		seen := make(map[string]bool)
		for _, r := range c.rules {
			if seen[r.name] || r.name == "" || len(r.name) >= nftLimit || strings.ContainsAny(r.name, `"\`) {
				t.Errorf("chain %s: name %q is used twice, empty, too long or needs quoting", c.name, r.name)
			}
			seen[r.name] = true
		}
	}
}
