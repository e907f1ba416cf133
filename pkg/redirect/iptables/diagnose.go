//go:build linux

package iptables

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A feature is a match or target of iptables that we use.
type feature struct {
	table, rule string // a harmless rule that needs it
	option      string // of the kernel
}

var features = map[string]feature{
	"comment":   {"raw", `-m comment --comment probe -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_COMMENT (module xt_comment)"},
	"mark":      {"raw", `-m mark --mark 0x1/0x1 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_MARK (module xt_mark)"},
	"owner":     {"raw", `-m owner --uid-owner 0 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_OWNER (module xt_owner)"},
	"addrtype":  {"mangle", `-m addrtype --dst-type LOCAL -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_ADDRTYPE (module xt_addrtype)"},
	"multiport": {"mangle", `-p tcp -m multiport --dports 1,2 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_MULTIPORT (module xt_multiport)"},
	"socket":    {"mangle", `-m socket -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_SOCKET (module xt_socket)"},
	"conntrack": {"filter", `-m conntrack ! --ctstate DNAT -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_CONNTRACK (module xt_conntrack)"},
	"CT":        {"raw", `-p udp -j CT --zone 1`, "CONFIG_NETFILTER_XT_TARGET_CT and CONFIG_NF_CONNTRACK_ZONES (module xt_CT)"},
	"TPROXY":    {"mangle", `-p tcp -j TPROXY --on-port 1`, "CONFIG_NETFILTER_XT_TARGET_TPROXY (module xt_TPROXY)"},
	"REDIRECT":  {"nat", `-p tcp -j REDIRECT --to-ports 1`, "CONFIG_NETFILTER_XT_TARGET_REDIRECT (module xt_REDIRECT)"},
	"REJECT":    {"filter", `-p tcp -j REJECT --reject-with tcp-reset`, "CONFIG_IP_NF_TARGET_REJECT, CONFIG_IP6_NF_TARGET_REJECT (modules ipt_REJECT, ip6t_REJECT)"},
}

var extension = regexp.MustCompile(`(?:-m|-j) ([A-Za-z]+)`)

// probeChain is deleted by the same run that makes it. Others that probe at the
// same time have another.
func probeChain() string { return fmt.Sprintf("%sprobe.%08x", prefixAll, rand.Uint32()) }

// probeAttempts is how often a probe has to fail before it is believed: other
// writers can make it fail as well.
const probeAttempts = 3

// diagnose finds out which match or target a refused step lacks, by a rule each
// in a chain that nothing leads to. The step's own error comes back where none
// is lacking.
func (e *Engine) diagnose(ctx context.Context, s step, err error) error {
	f, ok := asFailure(err)
	if !ok || ctx.Err() != nil || surely.MatchString(f.said) {
		return err
	}
	tried := make(map[string]bool)
	for _, m := range extension.FindAllStringSubmatch(s.text, -1) {
		name := m[1]
		feature, known := features[name]
		if !known || tried[name] {
			continue
		}
		tried[name] = true
		probeErr := e.probe(ctx, s, feature)
		if probeErr == nil {
			continue
		}
		if _, again := asFailure(probeErr); !again {
			return probeErr // rights, time: nothing about the feature
		}
		return fmt.Errorf("%w: %s iptables-%s does not take %q; it needs %s in the kernel and iptables' extension of that name, else use the nftables engine (%w)",
			redirect.ErrNotSupported, s.family, s.flavour, name, feature.option, f)
	}
	return err
}

func (e *Engine) probe(ctx context.Context, s step, f feature) (err error) {
	for range probeAttempts {
		text := fmt.Sprintf("*%[1]s\n:%[2]s - [0:0]\n-A %[2]s %[3]s\nCOMMIT\n*%[1]s\n-F %[2]s\n-X %[2]s\nCOMMIT\n", f.table, probeChain(), f.rule)
		if err = e.restore(ctx, step{s.flavour, s.family, text}); err == nil {
			return nil
		}
	}
	return err
}
