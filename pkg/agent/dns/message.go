package dns

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Parts of a message's header (RFC 1035, 4.1.1).
const (
	headerLen = 12

	bitResponse  = 0x80 // third byte
	maskOpcode   = 0x78
	bitAuthority = 0x04
	bitTruncated = 0x02
	bitRecursion = 0x01 // desired
	bitAvailable = 0x80 // fourth byte
	bitChecking  = 0x10 // disabled
	maskRCode    = 0x0f
)

// ttl of our answers, in seconds. Addresses of services hardly ever change;
// what a caller keeps after its service is gone leads nowhere for that long.
const ttl = 30

// outsideTTL is that of names outside of the mesh, in seconds: when they are
// given back, callers are to find the real ones soon.
const outsideTTL = 5

// maxUDP is the answer size, in bytes, up to which we go over UDP if the
// client can: what fits a frame on every path (DNS flag day 2020).
const maxUDP = 1232

// A query is what matters of a client's message.
type query struct {
	raw   []byte // the whole message
	end   int    // where the question ends
	name  string // lower case, no dot at the end; dots inside labels are \.
	typ   dnsmessage.Type
	class dnsmessage.Class
	edns  bool
	size  int // bytes of answer that the client takes
}

// question is the question's bytes.
func (q *query) question() []byte { return q.raw[headerLen:q.end] }

// parse reads a client's message. ok is false for what is no query at all and
// gets no answer; a code other than success is to be answered with.
func parse(raw []byte, tcp bool) (q query, code dnsmessage.RCode, ok bool) {
	if len(raw) < headerLen || raw[2]&bitResponse != 0 {
		return q, 0, false
	}
	q = query{raw: raw, end: headerLen, size: 512}
	if tcp {
		q.size = 0xffff
	}
	if binary.BigEndian.Uint16(raw[4:]) != 1 || !q.readQuestion() {
		q.end = headerLen
		return q, dnsmessage.RCodeFormatError, true
	}
	if raw[2]&maskOpcode == 0 && binary.BigEndian.Uint16(raw[10:]) > 0 {
		q.readOptions(tcp)
	}
	return q, dnsmessage.RCodeSuccess, true
}

// readQuestion reads the one question. A pointer has nothing to point back to
// yet and is refused.
func (q *query) readQuestion() bool {
	var name strings.Builder
	i := headerLen
	for {
		if i >= len(q.raw) {
			return false
		}
		n := int(q.raw[i])
		i++
		if n == 0 {
			break
		}
		if n > 63 || i+n > len(q.raw) || i+n-headerLen > 254 {
			return false
		}
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		for _, c := range q.raw[i : i+n] {
			switch {
			case c == '.' || c == '\\':
				name.WriteByte('\\')
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			}
			name.WriteByte(c)
		}
		i += n
	}
	if i+4 > len(q.raw) {
		return false
	}
	q.name = name.String()
	q.typ = dnsmessage.Type(binary.BigEndian.Uint16(q.raw[i:]))
	q.class = dnsmessage.Class(binary.BigEndian.Uint16(q.raw[i+2:]))
	q.end = i + 4
	return true
}

// readOptions looks for EDNS.
func (q *query) readOptions(tcp bool) {
	var p dnsmessage.Parser
	if _, err := p.Start(q.raw); err != nil {
		return
	}
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			if !tcp {
				q.size = min(max(int(h.Class), 512), maxUDP)
			}
			return
		}
		if p.SkipAdditional() != nil {
			return
		}
	}
}

// A reply grows by appending. Its first bytes are the query's, so that the
// name goes back with every letter's case as it came.
type reply struct {
	b     []byte
	limit int
	edns  bool
	ttl   uint32
}

// begin starts the reply to q with code.
func begin(q *query, code dnsmessage.RCode) *reply {
	b := make([]byte, q.end, q.end+128)
	copy(b, q.raw[:q.end])
	b[2] = bitResponse | q.raw[2]&(maskOpcode|bitRecursion)
	b[3] = bitAvailable | q.raw[3]&bitChecking | byte(code)&maskRCode
	clear(b[4:headerLen])
	if q.end > headerLen {
		b[5] = 1
	}
	return &reply{b: b, limit: q.size, edns: q.edns, ttl: ttl}
}

func (r *reply) authoritative() { r.b[2] |= bitAuthority }

// add appends a record that answers the question. It returns false, and marks
// the reply as truncated, when there is no room.
func (r *reply) add(typ dnsmessage.Type, data []byte) bool {
	room := r.limit
	if r.edns {
		room -= optLen
	}
	if len(r.b)+12+len(data) > room {
		r.b[2] |= bitTruncated
		return false
	}
	r.b = append(r.b, 0xc0, headerLen) // the question's name
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(typ))
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(dnsmessage.ClassINET))
	r.b = binary.BigEndian.AppendUint32(r.b, r.ttl)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(len(data)))
	r.b = append(r.b, data...)
	binary.BigEndian.PutUint16(r.b[6:], binary.BigEndian.Uint16(r.b[6:])+1)
	return true
}

const optLen = 11

// bytes ends the reply.
func (r *reply) bytes() []byte {
	if r.edns {
		r.b = append(r.b, 0, 0, byte(dnsmessage.TypeOPT), maxUDP>>8, maxUDP&0xff, 0, 0, 0, 0, 0, 0)
		r.b[11] = 1
	}
	return r.b
}

func addrData(a netip.Addr) []byte { return a.AsSlice() }

// nameData writes name as a record's data, uncompressed.
func nameData(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return nil
		}
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// matches says whether answer is an answer to the message with this id and
// question. A server that understood nothing may leave the question out.
func matches(answer []byte, id uint16, question []byte) bool {
	if len(answer) < headerLen || answer[2]&bitResponse == 0 || binary.BigEndian.Uint16(answer) != id {
		return false
	}
	if binary.BigEndian.Uint16(answer[4:]) == 0 {
		return len(answer) == headerLen && answer[3]&maskRCode != 0
	}
	end := headerLen + len(question)
	return binary.BigEndian.Uint16(answer[4:]) == 1 && len(answer) >= end &&
		equalFold(answer[headerLen:end], question)
}

// equalFold compares questions; lengths of labels are no letters.
func equalFold(a, b []byte) bool {
	if len(b) < 4 || len(a) != len(b) {
		return false
	}
	n := len(b) - 4 // type and class are compared as they are
	for i := range n {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return bytes.Equal(a[n:], b[n:])
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
