//go:build linux

package iptables

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A feature is a match or target of iptables that we use.
type feature struct {
	name        string
	table, rule string // a harmless rule that needs it
	option      string // of the kernel
}

var features = named(
	feature{"comment", "raw", `-m comment --comment probe -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_COMMENT (module xt_comment)"},
	feature{"mark", "raw", `-m mark --mark 0x1/0x1 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_MARK (module xt_mark)"},
	feature{"owner", "raw", `-m owner --uid-owner 0 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_OWNER (module xt_owner)"},
	feature{"addrtype", "mangle", `-m addrtype --dst-type LOCAL -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_ADDRTYPE (module xt_addrtype)"},
	feature{"multiport", "mangle", `-p tcp -m multiport --dports 1,2 -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_MULTIPORT (module xt_multiport)"},
	feature{"socket", "mangle", `-m socket -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_SOCKET (module xt_socket)"},
	feature{"conntrack", "filter", `-m conntrack ! --ctstate DNAT -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_CONNTRACK (module xt_conntrack)"},
	feature{"CT", "raw", `-p udp -j CT --zone 1`, "CONFIG_NETFILTER_XT_TARGET_CT and CONFIG_NF_CONNTRACK_ZONES (module xt_CT)"},
	feature{"TPROXY", "mangle", `-p tcp -j TPROXY --on-port 1`, "CONFIG_NETFILTER_XT_TARGET_TPROXY (module xt_TPROXY)"},
	feature{"REDIRECT", "nat", `-p tcp -j REDIRECT --to-ports 1`, "CONFIG_NETFILTER_XT_TARGET_REDIRECT (module xt_REDIRECT)"},
	feature{"cgroup", "raw", `-m cgroup --path / -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_CGROUP (module xt_cgroup) of Linux 4.5 or newer"},
	feature{"NETMAP", "nat", `-j NETMAP --to everywhere`, "CONFIG_NETFILTER_XT_TARGET_NETMAP (module xt_NETMAP)"},
	feature{"physdev", "raw", `-m physdev --physdev-is-in -j RETURN`, "CONFIG_NETFILTER_XT_MATCH_PHYSDEV (module xt_physdev)"},
	feature{"set", "raw", `-m set --match-set probed dst -j RETURN`, "CONFIG_NETFILTER_XT_SET (module xt_set)"},
	feature{"REJECT", "filter", `-p tcp -j REJECT --reject-with tcp-reset`, "CONFIG_IP_NF_TARGET_REJECT, CONFIG_IP6_NF_TARGET_REJECT (modules ipt_REJECT, ip6t_REJECT)"},
)

func named(all ...feature) map[string]feature {
	out := make(map[string]feature, len(all))
	for _, f := range all {
		out[f.name] = f
	}
	return out
}

var extension = regexp.MustCompile(`(?:-m|-j) ([A-Za-z]+)`)

// probeChain is deleted by the same run that makes it. Others that probe at the
// same time have another.
func probeChain() string { return fmt.Sprintf("%sprobe.%08x", prefixAll, rand.Uint32()) }

// probeAttempts is how often a probe has to fail before it is believed: other
// writers can make it fail as well.
const probeAttempts = 3

// Probe looks for the programs, the kernel's tables and every match and target
// that the rules need, each by a rule in a chain that nothing leads to.
func (e *Engine) Probe(ctx context.Context, r redirect.Rules) error {
	want, err := e.begun(ctx, r)
	if err != nil {
		return wrap("probe", r.Table, err)
	}
	return wrap("probe", r.Table, e.probeAll(ctx, want))
}

func (e *Engine) probeAll(ctx context.Context, r rules) error {
	h, err := e.read(ctx, r.Table)
	if err != nil {
		return err
	}
	fl, err := h.flavour(r, e.forced)
	if err != nil {
		return err
	}
	return withProbeSets(func(set string) error {
		for _, f := range h.families {
			s := step{flavour: fl, family: f, text: restoreText(prepared(r.Table, build(r, f), genA, held{}), held{})}
			wanted := s.features()
			s.text = probeText(f, set, wanted...)
			if err := e.restore(ctx, s); err != nil {
				return e.diagnose(ctx, s, err)
			}
		}
		return nil
	})
}

// withProbeSets makes sets of the kinds that we use, of which one is for rules
// to name, and takes them away.
func withProbeSets(do func(name string) error) error {
	return withSets(func(c *setConn) (err error) {
		name := probeChain()
		kinds := map[string]string{name: kindPorts, name + ".list": kindList}
		defer func() {
			for name := range kinds {
				err = errors.Join(err, c.destroy(name))
			}
		}()
		for name, kind := range kinds {
			if err := c.create(name, kind); err != nil {
				return err
			}
		}
		return do(name)
	})
}

// features are the matches and targets that a step needs.
func (s step) features() (out []feature) {
	tried := make(map[string]bool)
	for _, m := range extension.FindAllStringSubmatch(s.text, -1) {
		if f, known := features[m[1]]; known && !tried[m[1]] {
			tried[m[1]] = true
			out = append(out, f)
		}
	}
	return out
}

// diagnose finds out which match or target a refused step lacks, by a rule each
// in a chain that nothing leads to. The step's own error comes back where none
// is lacking.
func (e *Engine) diagnose(ctx context.Context, s step, err error) error {
	f, ok := asFailure(err)
	if !ok || ctx.Err() != nil || surely.MatchString(f.said) {
		return err
	}
	for _, feature := range s.features() {
		probeErr := e.probe(ctx, s, feature)
		if probeErr == nil {
			continue
		}
		if _, again := asFailure(probeErr); !again {
			return probeErr // rights, time: nothing about the feature
		}
		return fmt.Errorf("%w: %s iptables-%s does not take %q; it needs %s in the kernel and iptables' extension of that name, else use the nftables engine (%w)",
			redirect.ErrNotSupported, s.family, s.flavour, feature.name, feature.option, f)
	}
	return err
}

func (e *Engine) probe(ctx context.Context, s step, f feature) error {
	return withProbeSets(func(set string) (err error) {
		for range probeAttempts {
			if err = e.restore(ctx, step{flavour: s.flavour, family: s.family, text: probeText(s.family, set, f)}); err == nil {
				return nil
			}
		}
		return err
	})
}

// probeText makes a chain with a rule for each feature and deletes it again.
func probeText(family family, set string, features ...feature) string {
	var b strings.Builder
	named := strings.NewReplacer("everywhere", family.everywhere(), "probed", set)
	for _, f := range features {
		fmt.Fprintf(&b, "*%[1]s\n:%[2]s - [0:0]\n-A %[2]s %[3]s\nCOMMIT\n*%[1]s\n-F %[2]s\n-X %[2]s\nCOMMIT\n", f.table, probeChain(), named.Replace(f.rule))
	}
	return b.String()
}
