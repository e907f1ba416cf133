package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os/user"
	"strconv"

	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// Rules is the redirection that the configuration asks for.
func (c *Config) Rules() (redirect.Rules, error) {
	var errs []error
	fault := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	outPorts, err := redirect.ParsePorts(c.ExcludeOutPorts)
	fault("excludeOutboundPorts", err)
	targets, err := prefixes(c.ExcludeOutTargets)
	fault("excludeOutboundCidrs", err)
	sources, err := prefixes(c.ExcludeInSources)
	fault("excludeInboundCidrs", err)
	users, err := uids(c.ExcludeUsers, true)
	fault("excludeUsers", err)
	resolvers, err := uids(c.ResolverUsers, false)
	fault("resolverUsers", err)
	r := redirect.Rules{
		Table: c.RedirectTable,
		Marks: redirect.Marks{Mask: proxy.MarkMask, Outbound: proxy.MarkOutbound, Inbound: proxy.MarkInbound, Agent: proxy.MarkAgent},
		Inbound: redirect.Inbound{
			To:             c.InboundPort,
			Ports:          []redirect.PortRange{{First: c.Port, Last: c.Port}},
			ExcludeSources: sources,
		},
		Outbound: redirect.Outbound{
			To:                  c.OutboundPort,
			ExcludePorts:        outPorts,
			ExcludeDestinations: targets,
			Exclude:             redirect.Owners{UIDs: users},
		},
		DNS:  redirect.DNS{To: c.DNSPort, Exclude: redirect.Owners{UIDs: append(resolvers, users...)}},
		VIPs: []netip.Prefix{proxy.VIP4, proxy.VIP6},

		FailOpen: c.FailOpen,
	}
	if len(errs) == 0 {
		fault("redirect", r.Validate())
	}
	return r, errors.Join(errs...)
}

func prefixes(list []string) (out []netip.Prefix, err error) {
	var errs []error
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			if a, aerr := netip.ParseAddr(s); aerr == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is no network; write it like 10.0.0.0/8", s))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// uids looks users up. Ids need no entry in the user database; names that are
// unknown are a fault only where strict.
func uids(users []string, strict bool) (out []uint32, err error) {
	var errs []error
	for _, name := range users {
		id := name
		if u, err := user.Lookup(name); err == nil {
			id = u.Uid
		}
		n, err := strconv.ParseUint(id, 10, 32)
		switch {
		case err == nil:
			out = append(out, uint32(n))
		case strict:
			errs = append(errs, fmt.Errorf("this host has no user %q", name))
		}
	}
	return out, errors.Join(errs...)
}
