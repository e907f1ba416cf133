package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/settings"
)

// aHost has users app (1000) and db (26), group backup (34), unit api.service.
func aHost() directory {
	named := func(ids map[string]string) func(string) (string, error) {
		return func(name string) (string, error) {
			if id, ok := ids[name]; ok {
				return id, nil
			}
			return "", errors.New("unknown " + name)
		}
	}
	unit := named(map[string]string{"api.service": "system.slice/api.service", "web.slice": "web.slice"})
	return directory{user: named(map[string]string{"app": "1000", "db": "26"}), group: named(map[string]string{"backup": "34"}), unit: unit}
}

func TestRulesFollowTheConfiguration(t *testing.T) {
	type rules = redirect.Rules
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		args string
		want func(r *rules)
	}{
		{"", func(*rules) {}},
		{"--redirect-table=weft-two --fail-open=30s", func(r *rules) { r.Table, r.FailOpen = "weft-two", 30e9 }},
		{"--only=user:app,group:backup,unit:api.service,cgroup:/a/b", func(r *rules) {
			r.Outbound.Only = redirect.Owners{UIDs: []uint32{1000}, GIDs: []uint32{34}, Cgroups: []string{"system.slice/api.service", "a/b"}}
		}},
		{"--exclude-outbound=user:db,user:12345,group:0,interface:docker0,port:25,port:9000-9100,cidr:10.0.0.0/8,cidr:192.0.2.7,cidr:fd00::/8", func(r *rules) {
			r.Outbound.Exclude = redirect.Owners{UIDs: []uint32{26, 12345}, GIDs: []uint32{0}}
			r.DNS.Exclude = r.Outbound.Exclude
			r.Outbound.ExcludeInterfaces = []string{"docker0"}
			r.Outbound.ExcludePorts = []redirect.PortRange{{First: 25, Last: 25}, {First: 9000, Last: 9100}}
			r.Outbound.ExcludeDestinations = []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.7/32"), prefix("fd00::/8")}
		}},
		{"--exclude-inbound=cidr:fd00::1,interface:wg0", func(r *rules) {
			r.Inbound.ExcludeSources, r.Inbound.ExcludeInterfaces = []netip.Prefix{prefix("fd00::1/128")}, []string{"wg0"}
		}},
		{"--inbound=all --inbound-method=rewrite --exclude-inbound=port:22", func(r *rules) {
			r.Inbound.All, r.Inbound.Ports, r.Inbound.Method = true, nil, redirect.Rewrite
			r.Inbound.ExcludePorts = []redirect.PortRange{{First: 22, Last: 22}}
		}},
		{"--gateway --port=0", func(r *rules) { r.Inbound = redirect.Inbound{} }},
		{"--forwarded=docker0,br-*", func(r *rules) { r.Outbound.Forwarded = []string{"docker0", "br-*"} }},
		{"--resolvers=user:unbound,user:app,unit:web.slice", func(r *rules) {
			r.DNS.Exclude = redirect.Owners{UIDs: []uint32{1000}, Cgroups: []string{"web.slice"}}
		}},
	} {
		t.Run(c.args, func(t *testing.T) {
			plain, args := joined(t), joined(t, strings.Fields(c.args)...)
			want, err := plain.rules(aHost())
			if err != nil {
				t.Fatal(err)
			}
			c.want(&want)
			got, err := args.rules(aHost())
			if diff := cmp.Diff(want.Normal(), got.Normal(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || diff != "" {
				t.Errorf("error %v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// Everything wrong is told at once, each by its key and its owner's own words.
func TestRulesNameEachFault(t *testing.T) {
	faults := map[string]string{
		"--only=user:bob":                                `only: user:bob: unknown: this host has no such user in /etc/passwd; write its number`,
		"--only=group:bobs":                              `only: group:bobs: unknown: this host has no such group in /etc/group`,
		"--only=unit:bob.service":                        `only: unit:bob.service: unknown bob.service`,
		"--only=port:25":                                 `only: "port:25" is not of the form user:postgres, group:backup, unit:api.service or cgroup:system.slice/api.service`,
		"--only=app":                                     `only: "app" is not of the form user:postgres`,
		"--only=cgroup:a/../b":                           `only: "a/../b" is not a folder of the cgroup tree`,
		"--exclude-outbound=user:":                       `excludeOutbound: "user:" is not of the form`,
		"--exclude-outbound=user:4294967295":             `excludeOutbound: user:4294967295: is the kernel's word for no user`,
		"--exclude-outbound=user:-1":                     `excludeOutbound: user:-1: unknown`,
		"--exclude-outbound=port:0":                      `excludeOutbound: port:0: is neither a port from 1 to 65535 nor a range`,
		"--exclude-outbound=port:65536":                  `excludeOutbound: port:65536: is neither`,
		"--exclude-outbound=port:90-80":                  `excludeOutbound: port:90-80: is neither`,
		"--exclude-outbound=port:85,port:80-90":          `excludeOutbound: 80-90 overlaps 85: write each port once`,
		"--exclude-outbound=cidr:10.1.2.3/8":             `excludeOutbound: 10.1.2.3/8 has bits set beyond its length: write 10.0.0.0/8 for the range or 10.1.2.3/32 for the host`,
		"--exclude-outbound=cidr:here":                   `excludeOutbound: cidr:here: is not an address range`,
		"--exclude-outbound=cidr:fe80::1%eth0":           `excludeOutbound: cidr:fe80::1%eth0: is not an address range`,
		"--exclude-outbound=cidr:240.0.0.0/8":            `excludeOutbound: 240.0.0.0/8 is within vips 240.0.0.0/4`,
		"--exclude-outbound=interface:a/b":               `excludeOutbound: "a/b" is not the name of an interface`,
		"--exclude-outbound=cgroup:..":                   `excludeOutbound: ".." is not a folder of the cgroup tree`,
		"--exclude-inbound=user:app":                     `excludeInbound: "user:app" is not of the form interface:docker0, port:9000-9100 or cidr:10.0.0.0/8`,
		"--exclude-inbound=port:22":                      `excludeInbound: has ports, which only inbound: all needs: leave them out, or set inbound: all`,
		"--exclude-inbound=cidr:::ffff:10.0.0.0/104":     `excludeInbound: ::ffff:10.0.0.0/104 is an IPv4 range in IPv6's clothes`,
		"--only=user:app --exclude-outbound=user:app":    `only: 1000 is excluded by excludeOutbound: leave it out of one of them`,
		"--only=cgroup:a/b --exclude-outbound=cgroup:/a": `only: a/b is excluded by excludeOutbound a`,
		"--inbound-method=drop":                          `inboundMethod: "drop" is neither keep nor rewrite`,
		"--forwarded=*":                                  `forwarded: "*" is not the name of an interface`,
		"--resolvers=user:bob":                           `resolvers: user:bob: unknown`,
		"--redirect-table=Weft":                          `redirectTable: "Weft" is not a name`,
		"--fail-open=1h1s":                               `failOpen: 1h0m1s must be from 1s to 1h0m0s`,
	}
	var all []string
	for args, want := range faults {
		c := joined(t, strings.Fields(args)...)
		_, err := c.rules(aHost())
		if err == nil || err.Error() != want && !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %s alone", args, err, want)
		}
		if !strings.Contains(args, "=user:app") && !strings.Contains(args, "cgroup:/a") { // those two take others away
			all = append(all, strings.Fields(args)...)
		}
	}
	c := joined(t, all...)
	_, err := c.rules(aHost())
	if told := strings.Count(fmt.Sprint(err), "\n") + 1; told < len(all) {
		t.Errorf("of %d faults %d are told: %v", len(all), told, err)
	}
}

// What is wrong with the redirection is told with all the rest, and once.
func TestFaultsAreTheWhole(t *testing.T) {
	c := joined(t, "--port=0", "--exclude-outbound=port:x", "--inbound-method=drop", "--state-dir=here")
	told := fmt.Sprint(c.Faults())
	for _, key := range []string{"port", "excludeOutbound", "inboundMethod", "stateDir"} {
		if n := slices.ContainsFunc(strings.Split(told, "\n"), func(l string) bool { return strings.HasPrefix(l, key+": ") }); !n {
			t.Errorf("nothing is told of %s:\n%s", key, told)
		}
	}
	if strings.Count(told, "\nport: ")+strings.Count(told[:6], "port: ") > 1 {
		t.Errorf("the port is told twice:\n%s", told)
	}
}

// What a file asks for is rules that are valid, or faults that each name their
// key on one line.
func FuzzConfiguration(f *testing.F) {
	f.Add("only: [user:app, group:34, unit:api.service]\nexcludeOutbound:\n- port: 25\n- cidr: 10.0.0.0/8\n- interface: br-*\n")
	f.Add("inbound: all\ninboundMethod: rewrite\nexcludeInbound: port:22,cidr:fd00::1\nforwarded: [docker0]\nfailOpen: 30s\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := joined(t)
		fs := pflag.NewFlagSet("fuzz", pflag.ContinueOnError)
		c.Bind(fs)
		c.Port = 8080
		if settings.Load(fs, file, false, func(string) string { return "" }) != nil {
			return
		}
		r, err := c.rules(aHost())
		if err == nil {
			if err := r.Validate(); err != nil {
				t.Errorf("%q was taken, but: %v", text, err)
			}
			return
		}
		for _, l := range strings.Split(err.Error(), "\n") {
			key, _, ok := strings.Cut(l, ": ")
			if !ok || fs.Lookup(flagOf(key)) == nil && key != "vips" {
				t.Errorf("%q: the fault %q names no key", text, l)
			}
		}
	})
}

// flagOf is the flag of a key: "failOpen" is "fail-open".
func flagOf(key string) string {
	var b strings.Builder
	for _, r := range key {
		if r >= 'A' && r <= 'Z' {
			b.WriteRune('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Owners are those of the host, or are refused.
func FuzzOwners(f *testing.F) {
	for _, seed := range []string{"user:app", "user:0", "group:4294967295", "unit:web.slice", "cgroup:/a/b", "cgroup:..", "user:", ":", "port:25", "interface:eth0", "cidr:::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		n, err := aHost().read([]string{entry}, kinds)
		found := len(n.UIDs) + len(n.GIDs) + len(n.Cgroups) + len(n.interfaces) + len(n.ports) + len(n.prefixes)
		if (err == nil) != (found == 1) || found > 1 {
			t.Errorf("%q gives %+v, %v", entry, n, err)
		}
	})
}
