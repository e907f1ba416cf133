package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Dataplane is the document by which this host is registered.
func (c *Config) Dataplane(address netip.Addr) []byte {
	tags := map[string]string{"kuma.io/service": c.Service, "kuma.io/protocol": c.Protocol}
	for k, v := range c.Tags {
		tags[k] = v
	}
	networking := map[string]any{"address": address.String()}
	if c.Gateway {
		delete(tags, "kuma.io/protocol") // of its calls, not of its own
		networking["gateway"] = map[string]any{"type": "DELEGATED", "tags": tags}
	} else {
		inbound := map[string]any{
			"port":           c.Port,
			"serviceAddress": c.workload(address).String(),
			"servicePort":    c.Port,
			"tags":           tags,
		}
		if c.inboundState != "" {
			inbound["state"] = c.inboundState
		}
		networking["inbound"] = []map[string]any{inbound}
	}
	// Faults are told by Validate.
	if o, err := c.outbounds(); err == nil && o != nil {
		networking["outbound"] = o
	}
	if c.Redirect {
		redirected := map[string]any{"redirectPortOutbound": c.OutboundPort}
		if !c.Gateway {
			redirected["redirectPortInbound"] = c.InboundPort
		}
		if len(c.Forwarded) > 0 {
			redirected["redirectForwarded"] = true
		}
		if !hasIPv6() {
			redirected["ipFamilyMode"] = "IPv4"
		}
		networking["transparentProxying"] = redirected
	}
	whole := map[string]any{"type": "Dataplane", "mesh": c.Mesh, "name": c.Name, "networking": networking}
	if m, err := c.metrics(); err == nil && m != nil {
		whole["metrics"] = m
	}
	if p, err := c.probes(); err == nil && p != nil {
		whole["probes"] = p
	}
	doc, err := json.Marshal(whole)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return doc
}

// hasIPv6 tells whether this host can have an IPv6 listener at all. Without,
// Envoy would refuse those of its plan.
func hasIPv6() bool {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err == nil && strings.TrimSpace(string(off)) == "0"
}

// workload is where the service itself listens. Loopback unless told
// otherwise: a service bound there cannot be reached around the mesh, and one
// bound to all addresses is reached there as well. Without redirection Envoy
// holds the host's own address, and the service must be elsewhere anyway.
func (c *Config) workload(netip.Addr) netip.Addr {
	if a, err := netip.ParseAddr(c.ServiceAddress); err == nil {
		return a
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// address finds where others reach this host: as configured, or the source
// address of the route to the control plane. No packet is sent.
func (c *Config) address() (netip.Addr, error) {
	if c.Address != "" {
		return netip.ParseAddr(c.Address)
	}
	var last error
	for _, cp := range c.ControlPlanes {
		a, err := sourceAddress(cp)
		if err == nil {
			return a, nil
		}
		last = err
	}
	return netip.Addr{}, fmt.Errorf("find this host's address: %w; set it with --address", last)
}

func sourceAddress(controlPlane string) (netip.Addr, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return markSocket(raw, proxy.MarkAgent)
	}}
	conn, err := d.Dial("udp", controlPlane)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("no local address towards %s", controlPlane)
	}
	a := local.AddrPort().Addr().Unmap()
	if a.IsLoopback() {
		return netip.Addr{}, fmt.Errorf("the control plane at %s is on this host, so its route does not tell the host's address", controlPlane)
	}
	return a, nil
}

// defaultName is the Dataplane's name where nobody gave one.
func defaultName(service string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return service
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, service+"-"+host)
}
