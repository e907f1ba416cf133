package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// What Config.Inbound may say.
const (
	inboundService = "service"
	inboundAll     = "all"
)

// Rules is the redirection that the configuration asks for, or everything that
// is wrong with it. Names are looked up on this host, which is not changed.
func (c *Config) Rules() (redirect.Rules, error) {
	r, _, err := c.RulesAndDoors()
	return r, err
}

// RulesAndDoors tells besides which ports are left open for the host's owner.
func (c *Config) RulesAndDoors() (redirect.Rules, []Door, error) {
	r, err := c.rules(hostDirectory())
	if err != nil {
		return r, nil, err
	}
	if !canRedirect {
		return r, nil, nil // nothing is closed here
	}
	doors, err := c.keepOpen(&r, hostDoors())
	return r, doors, err
}

func (c *Config) rules(d directory) (redirect.Rules, error) {
	var errs []error
	read := func(key string, list []string, of []kind) named {
		n, err := d.read(list, of)
		errs = append(errs, keyed(key, err)...)
		return n
	}
	only := read("only", c.Only, owners)
	out := read("excludeOutbound", c.ExcludeOutbound, kinds)
	in := read("excludeInbound", c.ExcludeInbound, places)
	resolvers := read("resolvers", d.known(c.Resolvers), owners)
	r := redirect.Rules{
		Table: c.RedirectTable,
		Marks: redirect.Marks{Mask: proxy.MarkMask, Outbound: proxy.MarkOutbound, Inbound: proxy.MarkInbound, Agent: proxy.MarkAgent},
		Inbound: redirect.Inbound{
			To:                c.InboundPort,
			Method:            redirect.Method(c.InboundMethod),
			All:               c.Inbound == inboundAll,
			ExcludePorts:      in.ports,
			ExcludeSources:    in.prefixes,
			ExcludeInterfaces: in.interfaces,
		},
		Outbound: redirect.Outbound{
			To:                  c.OutboundPort,
			Only:                only.Owners,
			Forwarded:           c.Forwarded,
			Exclude:             out.Owners,
			ExcludePorts:        out.ports,
			ExcludeDestinations: out.prefixes,
			ExcludeInterfaces:   out.interfaces,
		},
		DNS:  redirect.DNS{To: c.DNSPort, Exclude: both(resolvers.Owners, out.Owners)},
		VIPs: []netip.Prefix{proxy.VIP4, proxy.VIP6},

		FailOpen: c.FailOpen,
	}
	switch {
	case c.Gateway:
		r.Inbound = redirect.Inbound{} // it is called as if there were no mesh
	case !r.Inbound.All:
		r.Inbound.Ports = []redirect.PortRange{{First: c.Port, Last: c.Port}}
	}
	// Together, so that who mends one fault is not told of the next only then.
	errs = append(errs, worded(r.Validate())...)
	return r, errors.Join(errs...)
}

// faults is everything that is wrong with one workload's configuration, the
// redirection that it asks for included.
func (c *Config) faults() error {
	errs := lines(c.valid())
	_, err := c.Rules()
	for _, e := range lines(err) {
		key, _, _ := strings.Cut(e.Error(), ": ")
		if !slices.ContainsFunc(errs, func(told error) bool { return strings.HasPrefix(told.Error(), key+": ") }) {
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// both are two lists of owners in one.
func both(a, b redirect.Owners) redirect.Owners {
	return redirect.Owners{UIDs: slices.Concat(a.UIDs, b.UIDs), GIDs: slices.Concat(a.GIDs, b.GIDs), Cgroups: slices.Concat(a.Cgroups, b.Cgroups)}
}

// usualResolvers are the users as whom hosts' own resolvers run. Those that
// this host does not have are passed over; whom its owner named is not.
var usualResolvers = []string{"user:systemd-resolve", "user:unbound", "user:bind", "user:named", "user:dnsmasq", "user:knot-resolver", "user:pdns"}

func (d directory) known(resolvers []string) (out []string) {
	for _, r := range resolvers {
		_, err := d.read([]string{r}, owners)
		if !errors.Is(err, errUnknown) || !slices.Contains(usualResolvers, r) {
			out = append(out, r)
		}
	}
	return out
}

// keyed has one error a line, each with the key that it is about.
func keyed(key string, err error) (out []error) {
	for _, e := range lines(err) {
		out = append(out, fmt.Errorf("%s: %w", key, e))
	}
	return out
}

// lines are the errors that errors.Join joined.
func lines(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// inKeys are the places of rules as the configuration calls them.
var inKeys = strings.NewReplacer(
	"inbound.to", "inboundPort", "outbound.to", "outboundPort", "dns.to", "dnsPort",
	"inbound.ports", "port", "inbound.all", "inbound: all", "inbound.method", "inboundMethod",
	"inbound.excludePorts", "excludeInbound", "inbound.excludeSources", "excludeInbound", "inbound.excludeInterfaces", "excludeInbound",
	"outbound.only.uids", "only", "outbound.only.gids", "only", "outbound.only.cgroups", "only",
	"outbound.exclude.uids", "excludeOutbound", "outbound.exclude.gids", "excludeOutbound", "outbound.exclude.cgroups", "excludeOutbound",
	"outbound.excludePorts", "excludeOutbound", "outbound.excludeDestinations", "excludeOutbound", "outbound.excludeInterfaces", "excludeOutbound",
	"outbound.forwarded", "forwarded",
	"dns.exclude.uids", "resolvers", "dns.exclude.gids", "resolvers", "dns.exclude.cgroups", "resolvers",
	"confirmWithin", "--confirm-within", "table: ", "redirectTable: ",
)

var index = regexp.MustCompile(`\[\d+\]`)

// worded tells the faults of rules in the words of the configuration, each with
// redirect.ErrInvalid.
func worded(err error) (out []error) {
	invalid, ok := errors.AsType[*redirect.InvalidError](err)
	if !ok {
		return keyed("redirect", err)
	}
	told := make(map[string]bool) // what is excluded is excluded from DNS, too
	for _, f := range invalid.Faults {
		text := inKeys.Replace(index.ReplaceAllString(f, ""))
		_, fault, _ := strings.Cut(text, ": ")
		if !told[fault] {
			out = append(out, faultOf{text})
		}
		told[fault] = true
	}
	return out
}

// A faultOf is a fault of rules in other words.
type faultOf struct{ text string }

func (f faultOf) Error() string { return f.text }
func (f faultOf) Unwrap() error { return redirect.ErrInvalid }
