//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// Check tells every difference between the host and rules: programs and where
// they hang, what is in the maps, the proxy's listeners, this host's addresses,
// routes and the loopback device.
func (e *Engine) Check(ctx context.Context, r redirect.Rules) ([]redirect.Difference, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r = r.Normal()
	d, err := e.check(ctx, r)
	return d, wrap("check", r.Table, err)
}

func (e *Engine) check(ctx context.Context, r redirect.Rules) ([]redirect.Difference, error) {
	if err := errors.Join(ctx.Err(), expressible(r), permitted(netAdmin, sysAdmin)); err != nil {
		return nil, err
	}
	s, err := e.scene(r)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.place.visible(); err != nil {
		return nil, err
	}
	unlock, err := s.place.lock(ctx, false) // nobody is to be half done
	if err != nil {
		return nil, err
	}
	defer unlock()
	have, err := read(s.place)
	if err != nil {
		return nil, err
	}
	defer have.close()
	d, err := s.compare(have)
	if err != nil {
		return nil, err
	}
	d = append(d, have.plan(s.wish).Differences...)
	up, err := route.LoopbackUp()
	if err != nil {
		return nil, err
	}
	if !up {
		d.add("down", "ip link set lo up", "the loopback device")
	}
	return d, nil
}

// Describe returns what the programs would do with each call, in the order in
// which they decide, where they hang, and the routes.
func (e *Engine) Describe(r redirect.Rules) (string, error) {
	if err := r.Validate(); err != nil {
		return "", err
	}
	r = r.Normal()
	if err := expressible(r); err != nil {
		return "", wrap("describe", r.Table, err)
	}
	var b strings.Builder
	line := func(ok bool, format string, args ...any) {
		if ok {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	line(true, "# pinned in %s/%s/%s@<cookie of the network namespace>", e.pins, ourFolder, r.Table)
	for _, h := range hooks {
		line(true, "program %s on %s: %s", h.name, map[spot]string{onTree: "cgroup /" + e.cgroup, onProxy: "the proxy's cgroup", onNetns: "the network namespace"}[h.on], h.what)
	}
	calls(r, line)
	connections(r, line)
	for _, p := range r.VIPs {
		line(true, "%s", route.EBPF.Text("add", p))
	}
	return b.String(), nil
}

// calls are decided by connect and sendmsg.
func calls(r redirect.Rules, line func(ok bool, format string, args ...any)) {
	if r.Outbound.To == 0 && r.DNS.To == 0 {
		return
	}
	out := r.Outbound
	leased := ""
	if r.FailOpen != 0 {
		leased = ", while the lease of " + r.FailOpen.String() + " holds"
	}
	line(true, "calls of this host's sockets:")
	line(r.ConfirmWithin != 0, "  trial: straight once it is over, %s after each Apply", r.ConfirmWithin)
	line(true, "  outbound: proxy and agent go straight: marks %#x, %#x, %#x of %#x", r.Marks.Outbound, r.Marks.Inbound, r.Marks.Agent, r.Marks.Mask)
	line(!r.Proxy.IsZero(), "  outbound: the proxy goes straight: %s", ownersText(r.Proxy))
	line(!out.Only.IsZero(), "  outbound: everybody goes straight but %s", ownersText(out.Only))
	line(r.DNS.To != 0, "  dns: port %d to the agent at %d%s%s", dnsPort, r.DNS.To, but(r.DNS.Exclude), leased)
	if out.To == 0 {
		return
	}
	line(len(r.VIPs) > 0, "  outbound: services to the proxy at %d: %s", out.To, prefixText(r.VIPs))
	line(r.FailOpen != 0, "  outbound: straight once the lease has run out")
	line(true, "  outbound: this host's addresses and loopback go straight")
	line(len(out.ExcludeDestinations) > 0, "  outbound: excluded destinations go straight: %s", prefixText(out.ExcludeDestinations))
	line(len(out.ExcludePorts) > 0, "  outbound: excluded ports go straight: %s", portText(out.ExcludePorts))
	line(!out.Exclude.IsZero(), "  outbound: excluded owners go straight: %s", ownersText(out.Exclude))
	line(true, "  outbound: to the proxy at %d, but for sockets that are bound to a device", out.To)
}

// connections are decided where they look for their listener.
func connections(r redirect.Rules, line func(ok bool, format string, args ...any)) {
	in := r.Inbound
	if in.To == 0 && r.Outbound.To == 0 {
		return
	}
	line(true, "connections to this host:")
	line(r.Outbound.To != 0, "  outbound: what was redirected to the proxy's listener at %d, everything else to it is refused", r.Outbound.To)
	if in.To == 0 {
		return
	}
	line(true, "  inbound: to the proxy's listener at %d itself is refused", in.To)
	line(true, "  inbound: to other ports than %s is not ours", portText(inboundPorts(in)))
	line(true, "  inbound: of this host's own calls only the proxy's, by mark %#x", r.Marks.Outbound)
	line(len(in.ExcludeSources) > 0, "  inbound: excluded sources go straight: %s", prefixText(in.ExcludeSources))
	line(len(in.ExcludeInterfaces) > 0, "  inbound: excluded interfaces go straight: %s", strings.Join(in.ExcludeInterfaces, " "))
	line(true, "  inbound: to the proxy at %d, and refused while it is away", in.To)
}

const dnsPort = 53

func but(o redirect.Owners) string {
	if o.IsZero() {
		return ""
	}
	return ", but not of " + ownersText(o)
}

func ownersText(o redirect.Owners) string {
	var out []string
	for _, id := range o.UIDs {
		out = append(out, fmt.Sprintf("user %d", id))
	}
	for _, id := range o.GIDs {
		out = append(out, fmt.Sprintf("group %d", id))
	}
	for _, path := range o.Cgroups {
		out = append(out, "cgroup "+path)
	}
	return strings.Join(out, ", ")
}
