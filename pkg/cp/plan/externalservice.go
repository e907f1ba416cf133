package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// outside returns what a service is outside of the mesh; nil where it is in it.
// Dataplanes that offer it come first.
func (p *planner) outside(service string) *snapshot.External {
	if p.externals == nil {
		return nil
	}
	s := p.service(service)
	if s.Offered {
		return nil
	}
	return s.External
}

// external plans the members that carry all of tags and may be called.
func (p *planner) external(of *snapshot.External, tags mesh.Tags) *proxy.External {
	e := &proxy.External{}
	if t := p.dp.Networking.TransparentProxying; t != nil {
		e.Family = family(t)
	}
	e.IPv6First = e.Family == "" && p.view.Host(p.dp.Networking.Address).Is6()
	for _, r := range of.All() {
		s := r.Spec.(*mesh.ExternalService)
		if !(mesh.Selector{Match: tags}).Matches(s.Tags) {
			continue
		}
		m := proxy.ExternalMember{
			From: originOf(r), Host: s.Host(), Port: uint16(s.Port()), Zone: s.Tags[mesh.ZoneTag],
			Tags: maps.Clone(s.Tags),
		}
		delete(m.Tags, mesh.ServiceTag)
		if why := p.denied(s); why != "" {
			e.Without = append(e.Without, fmt.Sprintf("%s: %s", m.From, why))
			continue
		}
		if t := s.Networking.TLS; t != nil && t.Enabled {
			if m.TLS = p.serverTLS(r, s); m.TLS == nil {
				e.Without = append(e.Without, fmt.Sprintf("%s: a secret or file that it names is not there, see warnings", m.From))
				continue
			}
		}
		e.Members = append(e.Members, m)
	}
	p.prefer(e.Members)
	if p.spec.Routing != nil && p.spec.Routing.ZoneEgress {
		p.warnOnce("routing.zoneEgress", "there is no zone egress yet: what is outside of the mesh is called directly")
	}
	return e
}

// prefer has members of the proxy's own zone, and those of none, called before
// others, where the mesh asks for that.
func (p *planner) prefer(members []proxy.ExternalMember) {
	zone := p.ownZone()
	near := func(m proxy.ExternalMember) bool { return m.Zone == "" || m.Zone == zone }
	if zone == "" || !slices.ContainsFunc(members, near) {
		return
	}
	for i := range members {
		if !near(members[i]) {
			members[i].Priority = 1
		}
	}
}

// denied tells why this dataplane may not call s, "" where it may. Nobody but
// the caller's own proxy can see to it.
func (p *planner) denied(s *mesh.ExternalService) string {
	if p.mode() == proxy.Plain {
		return ""
	}
	tags := s.Tags
	matches := p.policies(mesh.TrafficPermissionKind, func(all []*mesh.Resource) policy.Matches { return policy.Permissions(all, tags) }, tags)
	winner, ok := matches.Winner()
	if !ok {
		return fmt.Sprintf("no TrafficPermission has destinations that match %s, so nobody calls it; apply one", words(s.Tags))
	}
	for _, source := range winner.Policy.Spec.(*mesh.TrafficPermission).Sources {
		if slices.ContainsFunc(p.dp.TagSets(), source.Matches) {
			return ""
		}
	}
	return fmt.Sprintf("no source of %s matches this dataplane; %s", origin(winner), why(matches))
}

// serverTLS plans how a server is known; nil where something for it is missing,
// which is warned of.
func (p *planner) serverTLS(r *mesh.Resource, s *mesh.ExternalService) *proxy.ServerTLS {
	t := s.Networking.TLS
	from := originOf(r)
	name := s.Host()
	if t.ServerName != nil {
		name = *t.ServerName
	}
	out := &proxy.ServerTLS{SNI: name, Name: name, Roots: proxy.SystemRoots, Renegotiation: t.AllowRenegotiation}
	if ip, err := netip.ParseAddr(name); err == nil {
		out.SNI, out.Name = "", ip.Unmap().String() // SNI knows names alone
	}
	if t.SkipHostnameVerification {
		out.Name = ""
	}
	sources, ok := map[string]*proxy.Source{}, true
	for _, src := range s.Sources() {
		if sources[src.Field] = p.source(r, src); sources[src.Field] == nil {
			ok = false
		}
	}
	if !ok {
		return nil
	}
	if roots := sources["networking.tls.caCert"]; roots != nil {
		out.Roots = p.secret(proxy.Secret{Name: secretName(r, "ca"), From: from, Roots: roots})
	}
	if cert := sources["networking.tls.clientCert"]; cert != nil {
		out.Certificate = p.secret(proxy.Secret{Name: secretName(r, "client"), From: from, Certificate: cert, Key: sources["networking.tls.clientKey"]})
	}
	return out
}

func secretName(r *mesh.Resource, part string) string { return "external:" + r.Meta.Name + ":" + part }

func (p *planner) secret(s proxy.Secret) string {
	p.secrets[s.Name] = s
	return s.Name
}

// source says where the bytes of a DataSource are; nil where they are not.
func (p *planner) source(r *mesh.Resource, src mesh.Source) *proxy.Source {
	part := fmt.Sprintf("%s %s", originOf(r), src.Field)
	switch {
	case src.Secret != "":
		v := p.view.Secret(src.Secret)
		if v == 0 {
			p.warnOnce(part, "there is no Secret %q in mesh %s: it is not called until there is one", src.Secret, p.view.Name())
			return nil
		}
		return &proxy.Source{Secret: src.Secret, Version: strconv.FormatInt(int64(v), 10)}
	case src.File != "":
		v := p.view.File(src.File)
		if v == "" {
			p.warnOnce(part, "the control plane cannot read %s: it is not called until it can; files must lie in the control plane's --resource-files folder", src.File)
			return nil
		}
		return &proxy.Source{File: src.File, Version: v}
	}
	return &proxy.Source{Field: src.Field, Version: strconv.FormatInt(int64(r.Meta.Version), 10)}
}

// allSecrets are the secrets planned so far, sorted by name.
func (p *planner) allSecrets() (list []proxy.Secret) {
	for _, name := range slices.Sorted(maps.Keys(p.secrets)) {
		list = append(list, p.secrets[name])
	}
	return list
}

// memberHosts has requests that may go outside ask for the host that they go
// to, unless a route says which.
func (p *planner) memberHosts(out *proxy.Outbound) {
	for i := range out.Routes.Rules {
		rule := &out.Routes.Rules[i]
		if rule.Modify != nil && rule.Modify.Host != nil {
			continue
		}
		rule.MemberHost = slices.ContainsFunc(rule.To, func(w proxy.Weighted) bool {
			c := p.clusters[w.Cluster]
			return c != nil && c.External != nil
		})
	}
}
