package dns

import (
	"golang.org/x/net/dns/dnsmessage"
)

// answer replies to q if it is the mesh's to answer; nil is for the host's
// resolvers. What belongs to the mesh never leaves the host, known or not.
func answer(t *table, domain string, q *query) []byte {
	if q.raw[2]&maskOpcode != 0 {
		if under(q.name, domain) {
			return begin(q, dnsmessage.RCodeNotImplemented).bytes()
		}
		return nil
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
	addrs, ok := t.addrs[q.name]
	if !ok {
		return nothing(q, dnsmessage.RCodeNameError)
	}
	r := begin(q, dnsmessage.RCodeSuccess)
	r.authoritative()
	for _, a := range addrs {
		typ := dnsmessage.TypeAAAA
		if a.Is4() {
			typ = dnsmessage.TypeA
		}
		if (q.typ == typ || q.typ == dnsmessage.TypeALL) && !r.add(typ, addrData(a)) {
			break
		}
	}
	return r.bytes()
}

func nothing(q *query, code dnsmessage.RCode) []byte {
	r := begin(q, code)
	r.authoritative()
	return r.bytes()
}
