package dns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// response answers query with an address of that TTL; with nothing where
// soa is set, which is how long nothing is nothing.
func response(query []byte, code dnsmessage.RCode, ttl, soa uint32) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil
	}
	m.Response, m.RCode, m.Additionals = true, code, nil
	name := m.Questions[0].Name
	if soa > 0 {
		m.Authorities = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: soa},
		}}
	} else {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func TestCacheLifetimes(t *testing.T) {
	ask := pack(1, "example.", dnsmessage.TypeA, 0)
	for _, c := range []struct {
		name     string
		code     dnsmessage.RCode
		ttl, soa uint32
		want     time.Duration
	}{
		{"an address", dnsmessage.RCodeSuccess, 300, 0, 5 * time.Minute},
		{"one for this query alone", dnsmessage.RCodeSuccess, 0, 0, 0},
		{"one for days", dnsmessage.RCodeSuccess, 1 << 20, 0, cacheFor},
		{"a TTL below zero", dnsmessage.RCodeSuccess, 1 << 31, 0, 0},
		{"no such name", dnsmessage.RCodeNameError, 600, 60, time.Minute},
		{"no such name, of a SOA that ends sooner", dnsmessage.RCodeNameError, 20, 60, 20 * time.Second},
		{"no such record, for days", dnsmessage.RCodeSuccess, 1 << 20, 1 << 20, cacheNothing},
		{"a fault", dnsmessage.RCodeServerFailure, 300, 0, 0},
	} {
		if got, _ := lifetime(response(ask, c.code, c.ttl, c.soa)); got != c.want {
			t.Errorf("%s: kept for %s, want %s", c.name, got, c.want)
		}
	}
	if got, _ := lifetime(begin(&query{raw: ask, end: len(ask)}, dnsmessage.RCodeNameError).bytes()); got != 0 {
		t.Errorf("nothing that nobody says how long it lasts: kept for %s", got)
	}
}

func TestCacheRunsDown(t *testing.T) {
	c, now := newCache(), time.Unix(1e9, 0)
	q, _, _ := parse(pack(1, "example.", dnsmessage.TypeA, 0), false)
	c.put(&q, cacheKey(&q), response(q.raw, dnsmessage.RCodeSuccess, 10, 0), now)
	again, _, _ := parse(pack(2, "eXample.", dnsmessage.TypeA, 0), false)
	for after, want := range map[time.Duration]string{0: "Success eXample. 10 A 192.0.2.1", 4 * time.Second: "Success eXample. 6 A 192.0.2.1"} {
		got := c.get(&again, cacheKey(&again), now.Add(after))
		if show(got) != want || got[1] != 2 {
			t.Errorf("after %s: %s, want %s", after, show(got), want)
		}
	}
	for _, other := range [][]byte{pack(1, "example.", dnsmessage.TypeAAAA, 0), pack(1, "example.", dnsmessage.TypeA, 1232), pack(1, "another.", dnsmessage.TypeA, 0)} {
		q, _, _ := parse(other, false)
		if got := c.get(&q, cacheKey(&q), now); got != nil {
			t.Errorf("another question got %s", show(got))
		}
	}
	if got := c.get(&again, cacheKey(&again), now.Add(10*time.Second)); got != nil || c.bytes != 0 || len(c.entries) != 0 {
		t.Errorf("kept longer than its TTL: %s, %d bytes", show(got), c.bytes)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c, now := newCache(), time.Unix(1e9, 0)
	var first query
	for i := range 3 * cacheEntries {
		q, _, _ := parse(pack(1, fmt.Sprintf("n%d.example.", i), dnsmessage.TypeA, 0), false)
		c.put(&q, cacheKey(&q), response(q.raw, dnsmessage.RCodeSuccess, 100, 0), now)
		if i == 0 {
			first = q
		}
		if c.get(&first, cacheKey(&first), now) == nil {
			t.Fatalf("what was asked for last is gone after %d more", i)
		}
	}
	if len(c.entries) > cacheEntries || c.bytes > cacheBytes || c.used.Len() != len(c.entries) {
		t.Errorf("%d entries, %d bytes, %d in order", len(c.entries), c.bytes, c.used.Len())
	}
}

// What is kept is asked for once, is not kept when the host gets other
// resolvers, and is too large for some by UDP.
func TestCaching(t *testing.T) {
	answers := func(words string, ttl uint32) behave {
		return func(_ string, q []byte) [][]byte { return [][]byte{response(q, dnsmessage.RCodeSuccess, ttl, 0)} }
	}
	port, ups := upstreams(t, answers("first", 300), answers("second", 0))
	g := newRig(t, port, hosts(ups)[:1]).caching()
	for range 5 {
		if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeA, 0))); !strings.HasPrefix(got, "Success example. ") {
			t.Fatal(got)
		}
	}
	if n := len(ups[0].asked()); n != 1 {
		t.Errorf("the same was asked %d times", n)
	}
	g.write(hosts(ups)[1])
	deadline := time.Now().Add(patience)
	for len(ups[1].asked()) < 3 {
		g.ask("udp4", pack(1, "example.", dnsmessage.TypeA, 0)) // its TTL is 0
		if time.Now().After(deadline) {
			t.Fatal("the other resolver is not asked")
		}
	}
}
