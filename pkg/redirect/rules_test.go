package redirect

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func valid() Rules {
	return Rules{
		Marks:    Marks{Mask: 0x3000, Outbound: 0x1000, Inbound: 0x2000, Agent: 0x3000},
		Inbound:  Inbound{To: 15006, Ports: []PortRange{{8080, 8080}, {9000, 9010}}},
		Outbound: Outbound{To: 15001},
		DNS:      DNS{To: 15053},
		VIPs:     prefixes("240.0.0.0/4", "fd57:6566:7400::/64"),
	}
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Rules)
		want  []string // one for each fault
	}{
		{"nothing wrong", func(*Rules) {}, nil},
		{"nothing redirected", func(r *Rules) { *r = Rules{} }, nil},
		{"a name", func(r *Rules) { r.Table = "weft-b_2" }, nil},
		{"upper case", func(r *Rules) { r.Table = "Weft" }, []string{`table: "Weft" is not a name`}},
		{"a long name", func(r *Rules) { r.Table = strings.Repeat("a", 32) }, []string{"table: "}},
		{"a name with more in it", func(r *Rules) { r.Table = "weft; flush ruleset" }, []string{"table: "}},

		{"no mask", func(r *Rules) { r.Marks.Mask = 0 }, []string{"marks.mask: is 0"}},
		{"no mark", func(r *Rules) { r.Marks.Agent = 0 }, []string{"marks.agent: is 0, which every socket has"}},
		{"a mark outside", func(r *Rules) { r.Marks.Inbound = 0x6000 }, []string{"marks.inbound: 0x6000 has bits outside of marks.mask 0x3000"}},
		{"a mark twice", func(r *Rules) { r.Marks.Inbound = 0x1000 }, []string{"marks.inbound: 0x1000 is the mark of marks.outbound too"}},

		{"one listener for two", func(r *Rules) { r.DNS.To = 15001 }, []string{"dns.to: 15001 is the port of outbound.to too"}},
		{"ports without a listener", func(r *Rules) { r.Inbound.To = 0 }, []string{"inbound.to: is 0 though inbound.ports"}},
		{"services without a listener", func(r *Rules) { r.Outbound.To = 0 }, []string{"outbound.to: is 0 though vips"}},
		{"a listener enrolled", func(r *Rules) { r.Inbound.Ports[1] = PortRange{15000, 15010} },
			[]string{"inbound.ports[1]: 15000-15010 has port 15006, which is inbound.to", "inbound.ports[1]: 15000-15010 has port 15001, which is outbound.to"}},

		{"port 0", func(r *Rules) { r.Inbound.Ports[0] = PortRange{} }, []string{"inbound.ports[0]: 0: port 0 does not exist"}},
		{"backwards", func(r *Rules) { r.Outbound.ExcludePorts = []PortRange{{90, 80}} }, []string{"outbound.excludePorts[0]: 90-80 runs backwards: write 80-90"}},
		{"overlap", func(r *Rules) { r.Inbound.Ports = append(r.Inbound.Ports, PortRange{9010, 9020}) }, []string{"inbound.ports[2]: 9010-9020 overlaps 9000-9010"}},
		{"all ports", func(r *Rules) { r.Outbound.ExcludePorts = []PortRange{{1, 65535}} }, nil},

		{"host bits", func(r *Rules) { r.Inbound.ExcludeSources = prefixes("10.1.2.3/8") },
			[]string{"inbound.excludeSources[0]: 10.1.2.3/8 has bits set beyond its length: write 10.0.0.0/8 for the range or 10.1.2.3/32 for the host"}},
		{"no prefix", func(r *Rules) { r.Outbound.ExcludeDestinations = make([]netip.Prefix, 1) }, []string{"outbound.excludeDestinations[0]: is not an address range"}},
		{"mapped", func(r *Rules) { r.Inbound.ExcludeSources = prefixes("::ffff:10.0.0.0/104") }, []string{"inbound.excludeSources[0]: "}},
		{"nobody", func(r *Rules) { r.DNS.Exclude.UIDs = []uint32{0, math.MaxUint32} }, []string{"dns.exclude.uids[1]: "}},
		{"too many", func(r *Rules) { r.Outbound.Exclude.UIDs = make([]uint32, maxEntries+1) }, []string{"outbound.exclude.uids: has 4097 entries"}},
		{"no group", func(r *Rules) { r.Proxy.GIDs = []uint32{math.MaxUint32} }, []string{"proxy.gids[0]: "}},
		{"a cgroup", func(r *Rules) { r.Outbound.Only.Cgroups = []string{"system.slice/api.service"} }, nil},
		{"no cgroups", func(r *Rules) {
			r.Outbound.Only.Cgroups = []string{"", "/system.slice", "a//b", "..", "a/../../b", "a\"b"}
		}, []string{"outbound.only.cgroups[0]: ", "[1]: ", "[2]: ", "[3]: ", "[4]: ", "[5]: "}},
		{"chosen and excluded", func(r *Rules) {
			r.Outbound.Only.Cgroups, r.Outbound.Exclude.Cgroups = []string{"a/b", "ab"}, []string{"a"}
		}, []string{"outbound.only.cgroups[0]: a/b is excluded by outbound.exclude.cgroups[0] a"}},

		{"users chosen and excluded", func(r *Rules) {
			r.Outbound.Only, r.Outbound.Exclude = Owners{UIDs: []uint32{1, 7}, GIDs: []uint32{2, 7}}, Owners{UIDs: []uint32{7}, GIDs: []uint32{2}}
		}, []string{"outbound.only.uids[1]: 7 is excluded by outbound.exclude.uids[0]", "outbound.only.gids[0]: 2 is excluded"}},
		{"interfaces", func(r *Rules) { r.Outbound.Forwarded = []string{"docker0", "br-*", "veth.7"} }, nil},
		{"no interfaces", func(r *Rules) { r.Inbound.ExcludeInterfaces = []string{"*", "a b", "sixteen-letters-", "a/b", "a*b"} },
			[]string{"inbound.excludeInterfaces[0]: ", "[1]: ", "[2]: ", "[3]: ", "[4]: "}},
		{"forwarded to nobody", func(r *Rules) {
			r.VIPs, r.Outbound = nil, Outbound{Forwarded: []string{"docker0"}}
		}, []string{"outbound.to: is 0 though outbound.forwarded"}},

		{"every port", func(r *Rules) { r.Inbound = Inbound{To: 15006, All: true, ExcludePorts: []PortRange{{22, 22}}} }, nil},
		{"every port and some", func(r *Rules) { r.Inbound.All = true }, []string{"inbound.ports: has entries though inbound.all"}},
		{"every port to nobody", func(r *Rules) { r.Inbound = Inbound{All: true} }, []string{"inbound.to: is 0 though inbound.all"}},
		{"exclusions of some ports", func(r *Rules) { r.Inbound.ExcludePorts = []PortRange{{22, 22}} }, []string{"inbound.excludePorts: has ports, which only inbound.all needs"}},
		{"a method", func(r *Rules) { r.Inbound.Method = Rewrite }, nil},
		{"no method", func(r *Rules) { r.Inbound.Method = "redirect" }, []string{`inbound.method: "redirect" is neither keep nor rewrite`}},

		{"too many services", func(r *Rules) { r.VIPs = make([]netip.Prefix, maxVIPs+1) }, nil}, // below

		{"a lease", func(r *Rules) { r.FailOpen = 30 * time.Second }, nil},
		{"a lease too short", func(r *Rules) { r.FailOpen = time.Millisecond }, []string{"failOpen: 1ms must be from 1s to 1h0m0s"}},
		{"a lease too long", func(r *Rules) { r.FailOpen = 2 * time.Hour }, []string{"failOpen: 2h0m0s must be"}},
		{"a trial too short", func(r *Rules) { r.ConfirmWithin = time.Millisecond }, []string{"confirmWithin: 1ms must be from 1s to 1h0m0s"}},
		{"a lease backwards", func(r *Rules) { r.FailOpen = -time.Minute }, []string{"failOpen: -1m0s must be"}},
		{"a lease too fine", func(r *Rules) { r.FailOpen = time.Second + time.Microsecond }, []string{"failOpen: 1.000001s is finer"}},

		{"loopback as a service", func(r *Rules) { r.VIPs = prefixes("127.0.0.0/16") }, []string{"vips[0]: 127.0.0.0/16 takes the loopback"}},
		{"the IPv6 internet as a service", func(r *Rules) { r.VIPs = prefixes("::/0") },
			[]string{"vips[0]: ::/0 takes the loopback", "takes link-local", "takes multicast"}},
		{"an excluded service", func(r *Rules) { r.Outbound.ExcludeDestinations = prefixes("10.0.0.0/8", "250.0.0.0/8") },
			[]string{"outbound.excludeDestinations[1]: 250.0.0.0/8 is within vips[0] 240.0.0.0/4"}},
		{"all around a service", func(r *Rules) { r.Outbound.ExcludeDestinations = prefixes("0.0.0.0/0", "fd00::/8") }, nil},

		{"all at once", func(r *Rules) {
			r.Table, r.Marks.Agent, r.Inbound.Ports[0] = "9", 0, PortRange{7, 6}
		}, []string{"table: ", "marks.agent: ", "inbound.ports[0]: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := valid()
			c.spoil(&r)
			err := r.Validate()
			if c.name == "too many services" {
				if err == nil || !strings.Contains(err.Error(), "vips: has 65 ranges") {
					t.Errorf("said %v, want the limit", err)
				}
				return
			}
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("said %v, want nothing", err)
				}
				return
			}
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("said %v, want %v", err, ErrInvalid)
			}
			told := strings.Split(err.Error(), "\n")[1:]
			if len(told) != len(c.want) {
				t.Errorf("told %d faults, want %d: %v", len(told), len(c.want), err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("said %v, want %q in it", err, w)
				}
			}
		})
	}
}

func TestNormal(t *testing.T) {
	r := valid()
	r.Inbound.Ports = []PortRange{{9005, 9010}, {80, 80}, {9000, 9004}, {81, 81}, {9001, 9002}, {65535, 65535}}
	r.Outbound.ExcludePorts = []PortRange{}
	r.Outbound.Exclude.UIDs = []uint32{7, 3, 7}
	r.Outbound.ExcludeDestinations = prefixes("10.128.0.0/9", "10.0.0.0/9", "10.1.0.0/16", "192.0.2.1/32", "fd00::/8", "fd12::/16", "192.0.2.1/32", "0.0.0.0/0", "::/1", "8000::/1")
	r.Inbound.ExcludeSources = prefixes("198.51.100.2/31", "198.51.100.0/32", "198.51.100.1/32", "198.51.100.5/32")
	r.Outbound.Exclude.GIDs = []uint32{9, 9}
	r.Outbound.Only.Cgroups = []string{"b/c", "a.slice", "b", "a", "a/b", "b"}
	r.Outbound.Forwarded = []string{"veth1", "docker0", "veth*", "veth", "veth1*", "docker0"}
	before := r
	before.Inbound.Ports = slices.Clone(r.Inbound.Ports)
	got := r.Normal()
	if !reflect.DeepEqual(r, before) {
		t.Error("Normal changed what it was given")
	}
	want := valid()
	want.Table = "weft"
	want.Inbound.Ports = []PortRange{{80, 81}, {9000, 9010}, {65535, 65535}}
	want.Inbound.ExcludeSources = prefixes("198.51.100.0/30", "198.51.100.5/32")
	want.Outbound.ExcludeDestinations = prefixes("0.0.0.0/0", "::/0")
	want.Outbound.Exclude = Owners{UIDs: []uint32{3, 7}, GIDs: []uint32{9}}
	want.Outbound.Only.Cgroups = []string{"a", "a.slice", "b"}
	want.Outbound.Forwarded = []string{"docker0", "veth*"}
	want.Inbound.Method = Keep
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := got.Normal(); !reflect.DeepEqual(again, got) {
		t.Errorf("a second time %+v, want the same", again)
	}
	shuffled := r
	shuffled.Inbound.Ports = slices.Clone(r.Inbound.Ports)
	slices.Reverse(shuffled.Inbound.Ports)
	shuffled.Outbound.ExcludeDestinations = slices.Clone(r.Outbound.ExcludeDestinations)
	slices.Reverse(shuffled.Outbound.ExcludeDestinations)
	if !reflect.DeepEqual(shuffled.Normal(), got) {
		t.Error("another order gives another Normal")
	}
}

func TestParsePorts(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []PortRange
		says []string
	}{
		{"", nil, nil},
		{"  ", nil, nil},
		{"80", []PortRange{{80, 80}}, nil},
		{"80,8080-8090", []PortRange{{80, 80}, {8080, 8090}}, nil},
		{" 443 , 1 - 65535 ", []PortRange{{443, 443}, {1, 65535}}, nil},
		{"0", nil, []string{`"0"`}},
		{"65536,x,80", nil, []string{`"65536"`, `"x"`}},
		{"90-80", nil, []string{"90-80 runs backwards: write 80-90"}},
		{"80,", nil, []string{`""`}},
		{"+80", nil, []string{`"+80"`}},
		{"1-2-3", nil, []string{`"1-2-3"`}},
		{strings.Repeat("9", 500), nil, []string{`"9999`}},
	} {
		got, err := ParsePorts(c.in)
		if !slices.Equal(got, c.want) || (err != nil) != (c.says != nil) {
			t.Errorf("%.40q gives %v, %v, want %v", c.in, got, err, c.want)
		}
		for _, s := range c.says {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), s) {
				t.Errorf("%.40q says %v, want %q in it", c.in, err, s)
			}
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"80,8080-8090", "1-65535", "0", "-", ",", "9-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePorts(s)
		if err != nil {
			return
		}
		texts := make([]string, len(ports))
		for i, p := range ports {
			texts[i] = p.String()
		}
		again, err := ParsePorts(strings.Join(texts, ","))
		if err != nil || !slices.Equal(again, ports) {
			t.Errorf("%q gives %v, which reads back as %v, %v", s, ports, again, err)
		}
	})
}

// Normal means the same: a port or an address is in a list before as after.
func FuzzNormal(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 9, 10, 128, 0, 0, 9, 1, 2, 3, 4, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Rules
		var probes []netip.Addr
		for chunk := range slices.Chunk(b, 5) {
			if len(chunk) < 5 {
				break
			}
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(chunk)), int(chunk[4]%33)).Masked()
			r.Outbound.ExcludeDestinations = append(r.Outbound.ExcludeDestinations, p)
			probes = append(probes, p.Addr(), p.Addr().Prev(), netip.AddrFrom4([4]byte(chunk)))
		}
		n := r.Normal()
		has := func(list []netip.Prefix, a netip.Addr) bool {
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		for _, a := range probes {
			if before, after := has(r.Outbound.ExcludeDestinations, a), has(n.Outbound.ExcludeDestinations, a); before != after {
				t.Errorf("%s is in %v: %t, in %v: %t", a, r.Outbound.ExcludeDestinations, before, n.Outbound.ExcludeDestinations, after)
			}
		}
		if !slices.IsSortedFunc(n.Outbound.ExcludeDestinations, comparePrefixes) {
			t.Errorf("%v is not sorted", n.Outbound.ExcludeDestinations)
		}
	})
}

// Rules that are read and valid stay valid and the same in their one form, and
// come back as they were written.
func FuzzRules(f *testing.F) {
	f.Add([]byte(`{"table":"weft","marks":{"mask":3,"outbound":1,"inbound":2,"agent":3},"inbound":{"to":15006,"ports":[{"first":80,"last":80}]},"outbound":{"to":15001,"only":{"cgroups":["a/b","a"]}},"vips":["240.0.0.0/4"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Rules
		if json.Unmarshal(text, &r) != nil {
			return
		}
		err := r.Validate()
		n := r.Normal() // whatever they are
		if err != nil {
			if invalid, ok := errors.AsType[*InvalidError](err); !ok || len(invalid.Faults) == 0 || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: the faults are %v", text, err)
			}
			return
		}
		if err := n.Validate(); err != nil {
			t.Errorf("%s is valid, but not in its one form: %v", text, err)
		}
		if again := n.Normal(); !reflect.DeepEqual(again, n) {
			t.Errorf("%s: %+v is not its own normal form: %+v", text, n, again)
		}
		written, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var back Rules
		if err := json.Unmarshal(written, &back); err != nil || !reflect.DeepEqual(back, n) {
			t.Errorf("%s is written as %s and read as %+v, %v", text, written, back, err)
		}
	})
}
