package dns

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestBrokenQueries(t *testing.T) {
	good := pack(1, "api.mesh.", dnsmessage.TypeA, 0)
	with := func(change func(b []byte) []byte) []byte { return change(slices.Clone(good)) }
	for _, tt := range []struct {
		name   string
		raw    []byte
		answer bool
	}{
		{"empty", nil, false},
		{"short", good[:11], false},
		{"a response", with(func(b []byte) []byte { b[2] |= bitResponse; return b }), false},
		{"cut name", good[:14], true},
		{"cut type", good[:len(good)-1], true},
		{"no question", with(func(b []byte) []byte { b[5] = 0; return b }), true},
		{"two questions", with(func(b []byte) []byte { b[5] = 2; return append(b, b[headerLen:]...) }), true},
		{"pointer to itself", with(func(b []byte) []byte { b[12], b[13] = 0xc0, 12; return b }), true},
	} {
		q, code, ok := parse(tt.raw, false)
		if ok != tt.answer || (ok && code != dnsmessage.RCodeFormatError) {
			t.Errorf("%s: answered %v with %v", tt.name, ok, code)
			continue
		}
		if ok {
			if got := begin(&q, code).bytes(); len(got) != headerLen || got[3]&maskRCode != 1 {
				t.Errorf("%s: answer %x", tt.name, got)
			}
		}
	}
}

// An update or a notification about the mesh stays here, about others goes on.
func TestOtherOperations(t *testing.T) {
	for name, stays := range map[string]bool{"api.mesh.": true, "example.": false} {
		raw := pack(1, name, dnsmessage.TypeSOA, 0)
		raw[2] |= 5 << 3
		q, code, ok := parse(raw, false)
		if !ok || code != 0 {
			t.Fatalf("%s: %v %v", name, ok, code)
		}
		got := answer(newTable("mesh", testNames), "mesh", &q)
		if (got != nil) != stays {
			t.Errorf("%s: answered here %v, want %v", name, got != nil, stays)
		}
	}
}

func TestNameservers(t *testing.T) {
	text := "; old style\n#nameserver 1.1.1.1\nnameserver 9.9.9.9\n nameserver\t::1  # two\nnameserver fe80::1%lo\nnameserver nonsense\nnameserver 9.9.9.9\noptions edns0\nnameserver 10.0.0.1"
	var got []string
	for _, s := range nameservers([]byte(text), 53) {
		got = append(got, s.String())
	}
	if want := []string{"9.9.9.9:53", "[::1]:53", "[fe80::1%lo]:53", "10.0.0.1:53"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(pack(1, "api.mesh.", dnsmessage.TypeA, 0))
	f.Add(pack(1, "aPI.mesh.", dnsmessage.TypeALL, 1232))
	f.Add(pack(1, "1.0.0.240.in-addr.arpa.", dnsmessage.TypePTR, 0))
	f.Add(pack(1, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.d.f.ip6.arpa.", dnsmessage.TypePTR, 512))
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, '.', '\\', 0, 0, 0, 1, 0, 1})
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1})
	t := newTable("mesh", testNames)
	f.Fuzz(func(tt *testing.T, raw []byte) {
		for _, tcp := range []bool{false, true} {
			q, code, ok := parse(raw, tcp)
			if !ok {
				continue
			}
			b := begin(&q, code).bytes()
			if code == dnsmessage.RCodeSuccess {
				b = answer(t, "mesh", &q)
			}
			if b == nil {
				continue
			}
			if len(b) < headerLen || !bytes.Equal(b[:2], raw[:2]) || b[2]&bitResponse == 0 || len(b) > max(q.size, q.end+optLen) {
				tt.Errorf("answer %x to %x", b, raw)
			}
		}
	})
}

func FuzzAnswerCheck(f *testing.F) {
	query := pack(1, "example.", dnsmessage.TypeTXT, 0)
	f.Add(txt(query, "yes", dnsmessage.RCodeSuccess))
	f.Add(query)
	f.Add(query[:headerLen])
	q, _, _ := parse(query, true)
	f.Fuzz(func(t *testing.T, b []byte) {
		if matches(b, 1, q.question()) && (len(b) < headerLen || binary.BigEndian.Uint16(b) != 1) {
			t.Errorf("%x was taken", b)
		}
	})
}

func TestVIPs(t *testing.T) {
	for name, want := range map[string]string{
		"1.0.0.240.in-addr.arpa":   "240.0.0.1",
		"1.0.0.10.in-addr.arpa":    "",
		"0.0.240.in-addr.arpa":     "",
		"x.0.0.240.in-addr.arpa":   "",
		"1.0.0.240.in-addr.arpa.x": "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.d.f.ip6.arpa": "fd57:6566:7400::1",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.dxf.ip6.arpa": "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.e.f.ip6.arpa": "",
	} {
		got, ok := vipOf(name)
		if ok != (want != "") || (ok && got != netip.MustParseAddr(want)) {
			t.Errorf("%s: %v %v, want %q", name, got, ok, want)
		}
	}
}
