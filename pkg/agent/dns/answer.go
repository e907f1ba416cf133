package dns

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// outsider replies to q if it asks where a host outside is that is called
// through the mesh; nil is for others. What else the host's name has (mail, text)
// its own servers tell, but not what would lead around the mesh.
func outsider(t *table, q *query) []byte {
	if t == nil || q.raw[2]&maskOpcode != 0 || q.class != dnsmessage.ClassINET {
		return nil
	}
	addrs, ok := t.outside[q.name]
	if !ok || !slices.Contains(placeTypes, q.typ) {
		return nil
	}
	r := begin(q, dnsmessage.RCodeSuccess)
	r.ttl = outsideTTL
	r.addresses(q.typ, addrs)
	return r.bytes()
}

// placeTypes ask where a host is: addresses, and the two kinds of service
// bindings (SVCB and HTTPS, RFC 9460), which hold addresses as hints.
var placeTypes = []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeALL, 64, 65}

// addresses adds those that typ asks for.
func (r *reply) addresses(typ dnsmessage.Type, addrs []netip.Addr) {
	for _, a := range addrs {
		is := dnsmessage.TypeAAAA
		if a.Is4() {
			is = dnsmessage.TypeA
		}
		if (typ == is || typ == dnsmessage.TypeALL) && !r.add(is, addrData(a)) {
			break
		}
	}
}

// answer replies to q if it is the mesh's to answer; nil is for the host's
// resolvers. What belongs to the mesh never leaves the host, known or not.
func answer(t *table, domain string, q *query) []byte {
	if q.raw[2]&maskOpcode != 0 {
		if under(q.name, domain) {
			return begin(q, dnsmessage.RCodeNotImplemented).bytes()
		}
		return nil
	}
	if b := probed(domain, q); b != nil {
		return b
	}
	vip, reverse := vipOf(q.name)
	switch {
	case !reverse && !under(q.name, domain):
		return nil
	case t == nil:
		return begin(q, dnsmessage.RCodeServerFailure).bytes()
	case q.class != dnsmessage.ClassINET && q.class != dnsmessage.ClassANY:
		return begin(q, dnsmessage.RCodeRefused).bytes()
	}
	if reverse {
		name, ok := t.names[vip]
		if !ok {
			return nothing(q, dnsmessage.RCodeNameError)
		}
		r := begin(q, dnsmessage.RCodeSuccess)
		r.authoritative()
		if data := nameData(name); data != nil && (q.typ == dnsmessage.TypePTR || q.typ == dnsmessage.TypeALL) {
			r.add(dnsmessage.TypePTR, data)
		}
		return r.bytes()
	}
	if b := service(t, q); b != nil {
		return b
	}
	addrs, ok := t.addrs[q.name]
	if !ok {
		return nothing(q, dnsmessage.RCodeNameError)
	}
	r := begin(q, dnsmessage.RCodeSuccess)
	r.authoritative()
	r.addresses(q.typ, addrs)
	if q.typ == dnsmessage.TypeSRV && len(addrs) > 0 {
		r.services(t, q.name)
	}
	return r.bytes()
}

// service replies to a query for a service of a name (RFC 2782), such as
// _http._tcp.api.mesh. Whatever it is called, it is where all of the name's is.
func service(t *table, q *query) []byte {
	label, rest, _ := strings.Cut(q.name, ".")
	transport, name, _ := strings.Cut(rest, ".")
	if !strings.HasPrefix(label, "_") || transport != "_tcp" || len(t.addrs[name]) == 0 {
		return nil
	}
	r := begin(q, dnsmessage.RCodeSuccess)
	r.authoritative()
	if q.typ == dnsmessage.TypeSRV || q.typ == dnsmessage.TypeALL {
		r.services(t, name)
	}
	return r.bytes()
}

// services adds where a name is called: priority, weight, port and target.
func (r *reply) services(t *table, name string) {
	target := nameData(name)
	ports := t.ports[name]
	if len(ports) == 0 {
		ports = []uint16{proxy.VIPPort}
	}
	for _, port := range ports {
		if data := []byte{0, 0, 0, 0, byte(port >> 8), byte(port)}; target == nil || !r.add(dnsmessage.TypeSRV, append(data, target...)) {
			return
		}
	}
}

// probed replies to a probe of the redirection, also before there are names.
func probed(domain string, q *query) []byte {
	token, ok := strings.CutSuffix(q.name, "."+proxy.ProbeLabel+"."+domain)
	if text := proxy.ProbeAnswer + token; ok && q.typ == dnsmessage.TypeTXT && len(text) < 256 {
		r := begin(q, dnsmessage.RCodeSuccess)
		r.authoritative()
		r.add(dnsmessage.TypeTXT, append([]byte{byte(len(text))}, text...))
		return r.bytes()
	}
	return nil
}

func nothing(q *query, code dnsmessage.RCode) []byte {
	r := begin(q, code)
	r.authoritative()
	return r.bytes()
}
