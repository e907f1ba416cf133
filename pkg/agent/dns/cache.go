package dns

import (
	"container/list"
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of the cache: entries, bytes of answers, and how long one is kept
// whatever its TTL says. What does not exist may come to exist (RFC 2308, 5).
const (
	cacheEntries = 4096
	cacheBytes   = 2 << 20
	cacheFor     = time.Hour
	cacheNothing = 5 * time.Minute
)

// A cache keeps answers of the host's resolvers as long as their TTLs say, the
// one that was asked for last the longest.
type cache struct {
	mu      sync.Mutex
	entries map[string]*list.Element // of *cached
	used    *list.List               // the last one in front
	bytes   int
	max     int // of entries
}

type cached struct {
	key    string
	answer []byte
	ttls   []int // where they are in it
	at     time.Time
	until  time.Time
}

func newCache() *cache {
	return &cache{entries: map[string]*list.Element{}, used: list.New(), max: cacheEntries}
}

// cacheKey is all of a query by which answers may differ: flags, the question
// with its letters in lower case, and options such as DO. "" is never kept.
func cacheKey(q *query) string {
	if q.typ == dnsmessage.TypeALL || q.typ == dnsmessage.TypeAXFR || q.raw[2]&maskOpcode != 0 {
		return ""
	}
	key := append([]byte{}, q.raw[2:]...)
	for i := headerLen - 2; i < q.end-2-4; i++ {
		key[i] = lower(key[i])
	}
	return string(key)
}

// get returns the answer to q as if it had just come, with TTLs that have run
// down; nil for none.
func (c *cache) get(q *query, key string, now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || key == "" {
		return nil
	}
	of := e.Value.(*cached)
	if !now.Before(of.until) {
		c.drop(e)
		return nil
	}
	c.used.MoveToFront(e)
	b := append([]byte{}, of.answer...)
	copy(b, q.raw[:2])
	copy(b[headerLen:q.end], q.raw[headerLen:q.end]) // with the letters' case
	age := uint32(now.Sub(of.at) / time.Second)
	for _, i := range of.ttls {
		ttl := binary.BigEndian.Uint32(b[i:])
		binary.BigEndian.PutUint32(b[i:], ttl-min(ttl, age))
	}
	return b
}

// put keeps an answer to q, if it is one to keep.
func (c *cache) put(q *query, key string, answer []byte, now time.Time) {
	if key == "" || len(answer) < q.end || answer[2]&bitTruncated != 0 || binary.BigEndian.Uint16(answer[4:]) != 1 {
		return
	}
	keep, ttls := lifetime(answer)
	if keep < time.Second {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		c.drop(e)
	}
	c.entries[key] = c.used.PushFront(&cached{key: key, answer: answer, ttls: ttls, at: now, until: now.Add(keep)})
	c.bytes += len(answer) + len(key)
	for len(c.entries) > c.max || c.bytes > cacheBytes {
		c.drop(c.used.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	of := c.used.Remove(e).(*cached)
	delete(c.entries, of.key)
	c.bytes -= len(of.answer) + len(of.key)
}

// forget empties the cache: other resolvers may know otherwise.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.used.Init()
	c.bytes = 0
}

// lifetime is how long an answer may be kept, zero for not at all, and where its
// TTLs are.
func lifetime(answer []byte) (keep time.Duration, ttls []int) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil || h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError || p.SkipAllQuestions() != nil {
		return 0, nil
	}
	i := skipName(answer, headerLen) + 4
	keep = cacheFor
	answers := int(binary.BigEndian.Uint16(answer[6:]))
	authorities := int(binary.BigEndian.Uint16(answer[8:]))
	all := answers + authorities + int(binary.BigEndian.Uint16(answer[10:]))
	nothing := answers == 0 || h.RCode == dnsmessage.RCodeNameError
	told := false // by a SOA, how long nothing stays nothing
	for n := range all {
		i = skipName(answer, i)
		if i < 0 || i+10 > len(answer) {
			return 0, nil
		}
		typ := dnsmessage.Type(binary.BigEndian.Uint16(answer[i:]))
		size := int(binary.BigEndian.Uint16(answer[i+8:]))
		end := i + 10 + size
		if end > len(answer) {
			return 0, nil
		}
		if typ != dnsmessage.TypeOPT { // whose TTL is none
			ttls = append(ttls, i+4)
			keep = min(keep, seconds(answer[i+4:]))
		}
		if nothing && typ == dnsmessage.TypeSOA && n >= answers && n < answers+authorities && size >= 20 {
			keep, told = min(keep, seconds(answer[end-4:]), cacheNothing), true
		}
		i = end
	}
	if nothing && !told {
		return 0, nil
	}
	return keep, ttls
}

func seconds(b []byte) time.Duration {
	n := binary.BigEndian.Uint32(b)
	if n > 1<<31-1 {
		n = 0 // RFC 2181, 8
	}
	return time.Duration(n) * time.Second
}

// skipName returns where what is behind a name begins; negative for a broken one.
func skipName(b []byte, i int) int {
	for i >= 0 && i < len(b) {
		switch n := int(b[i]); {
		case n == 0:
			return i + 1
		case n&0xc0 == 0xc0:
			return i + 2
		case n > 63:
			return -1
		default:
			i += 1 + n
		}
	}
	return -1
}
