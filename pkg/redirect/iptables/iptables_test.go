//go:build linux

package iptables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

func on(h *testnet.Host, do func() error) error { return h.Do(do) }

func ourChains(t *testing.T, h *testnet.Host) (out []string) {
	t.Helper()
	for _, p := range []string{"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"} {
		if strings.Contains(h.Run(t, p+"-save"), prefixAll) {
			out = append(out, p)
		}
	}
	return out
}

// The host's own rules decide, and ours follow them.
func TestFlavourFollowsTheHostsRules(t *testing.T) {
	const rule = "-I INPUT -p tcp --dport 22 -j ACCEPT"
	add := func(t *testing.T, h *testnet.Host, program string, n int) {
		for range n {
			h.Run(t, program, strings.Fields(rule)...)
		}
	}
	h := testnet.Hosts(t, 1)[0]
	for _, step := range []struct {
		name    string
		program string
		rules   int
		want    []string
	}{
		{"nobody has rules", "", 0, []string{"iptables-nft", "ip6tables-nft"}},
		{"legacy has rules", "iptables-legacy", 1, []string{"iptables-legacy", "ip6tables-legacy"}},
		{"nft has more", "ip6tables-nft", 2, []string{"iptables-nft", "ip6tables-nft"}},
	} {
		add(t, h, step.program, step.rules)
		if err := on(h, func() error { return New().Apply(t.Context(), redirecttest.Broken()) }); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := ourChains(t, h); !slices.Equal(got, step.want) {
			t.Errorf("%s: ours are in %q, want %q", step.name, got, step.want)
		}
	}
	if err := on(h, func() error { return New().Remove(t.Context(), "") }); err != nil {
		t.Fatal(err)
	}
	if got := ourChains(t, h); len(got) > 0 {
		t.Errorf("after Remove ours are in %q", got)
	}
}

// Another engine's routes to the same ranges are neither taken nor taken away.
func TestRoutesOfOtherEnginesStay(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Run(t, "ip", "route", "add", "240.0.0.0/4", "dev", "lo", "proto", "87", "src", "127.0.0.1")
	h.Run(t, "ip", "-6", "route", "add", "fd57:6566:7400::/64", "dev", "lo", "proto", "87", "src", "::1")
	routes := func() string { return h.Run(t, "ip", "route") + h.Run(t, "ip", "-6", "route") }
	before := routes()
	for _, do := range []func() error{
		func() error { return New().Apply(t.Context(), redirecttest.Broken()) },
		func() error { return New().Remove(t.Context(), "") },
	} {
		if err := on(h, do); err != nil {
			t.Fatal(err)
		}
		if now := routes(); !strings.Contains(now, "240.0.0.0/4 dev lo proto 87 scope link src 127.0.0.1 \n") {
			t.Errorf("the routes are\n%s", now)
		}
	}
	if now := routes(); now != before {
		t.Errorf("the routes are\n%swere\n%s", now, before)
	}
}

// stub makes a folder with iptables' programs in which some are replaced by
// scripts; an empty script leaves one out. %s in a script is the real program.
func stub(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"iptables", "ip6tables"} {
		for _, f := range flavours {
			for _, verb := range []string{"save", "restore"} {
				name := fmt.Sprintf("%s-%s-%s", v, f, verb)
				script, ok := scripts[name]
				if !ok {
					script = "exec %s \"$@\""
				}
				if script == "" {
					continue
				}
				binary := filepath.Join("/usr/sbin", name)
				text := "#!/bin/sh\n" + strings.ReplaceAll(script, "%s", binary) + "\n"
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

// lacking plays an iptables whose kernel lacks an extension.
func lacking(name string) string {
	return `t=$(cat); case "$t" in *" ` + name + ` "*) echo "iptables-restore: line 3 failed" >&2; exit 1;; esac; printf '%s\n' "$t" | PROGRAM "$@"`
}

// newCgroup makes a folder of the cgroup tree that is gone with the test.
func newCgroup(t *testing.T) (path string) {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("weft-test-iptables-%d-%d", os.Getpid(), cgroupCount.Add(1))
	dir := filepath.Join(root, path)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	return path
}

var cgroupCount atomic.Int32

func TestMissingThingsAreNamed(t *testing.T) {
	none := map[string]string{}
	for _, v := range []string{"iptables", "ip6tables"} {
		for _, f := range flavours {
			none[fmt.Sprintf("%s-%s-restore", v, f)] = ""
		}
	}
	cases := []struct {
		name    string
		scripts map[string]string
		says    []string
	}{
		{"no iptables", none, []string{"install iptables", "nftables engine"}},
		{"no ip6tables", map[string]string{"ip6tables-nft-restore": "", "ip6tables-legacy-restore": ""}, []string{"host has IPv6", "ip6tables-nft-restore", "nftables engine"}},
		{"old iptables", map[string]string{"iptables-nft-restore": `echo "unrecognized option '--wait=5'" >&2; exit 2`}, []string{"1.6.2"}},
		{"no nf_tables", map[string]string{
			"iptables-nft-save":       `echo "Failed to initialize nft: Protocol not supported" >&2; exit 1`,
			"iptables-legacy-restore": ""}, []string{"CONFIG_NF_TABLES"}},
	}
	for name, f := range features {
		script := strings.ReplaceAll(lacking(name), `'%s\n'`, `'%%s\n'`)
		script = strings.ReplaceAll(strings.ReplaceAll(script, "%%s", "\x00"), "PROGRAM", "%s")
		cases = append(cases, struct {
			name    string
			scripts map[string]string
			says    []string
		}{"IPv6 without " + name, map[string]string{"ip6tables-nft-restore": script}, []string{f.option, "IPv6", "nftables engine"}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for name, script := range c.scripts {
				c.scripts[name] = script
			}
			dir := stub(t, c.scripts)
			for name := range c.scripts { // the one % that is the script's own
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(string(b), "\x00", "%s")), 0o755)
				}
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			h := testnet.Hosts(t, 1)[0]
			rules := redirecttest.Broken()
			rules.Outbound.Exclude.Cgroups = []string{newCgroup(t)}
			err := on(h, func() error { return New(WithPath(dir)).Apply(t.Context(), rules) })
			if !errors.Is(err, redirect.ErrNotSupported) {
				t.Errorf("Apply said %v, want %v", err, redirect.ErrNotSupported)
			}
			for _, s := range c.says {
				if !strings.Contains(fmt.Sprint(err), s) {
					t.Errorf("Apply said %v, want %q in it", err, s)
				}
			}
			if got := ourChains(t, h); len(got) > 0 {
				t.Errorf("ours are left in %q", got) // both families or none
			}
			if err := on(h, func() error { return New(WithPath(dir)).Remove(t.Context(), "") }); err != nil {
				t.Errorf("Remove said %v", err)
			}
		})
	}
}

// Without ip6tables a host is redirected as long as it has no IPv6, and Check
// tells when it has.
func TestWithoutIP6tables(t *testing.T) {
	dir := stub(t, map[string]string{"ip6tables-nft-save": "", "ip6tables-nft-restore": "", "ip6tables-legacy-save": "", "ip6tables-legacy-restore": ""})
	h := testnet.Hosts(t, 1)[0]
	check := func() error {
		return on(h, func() error {
			d, err := New(WithPath(dir)).Check(t.Context(), redirecttest.Broken())
			if len(d) > 0 {
				t.Errorf("it differs: %v", d)
			}
			return err
		})
	}
	h.Run(t, "sh", "-ec", "for i in all lo eth0; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
	if err := on(h, func() error { return New(WithPath(dir)).Apply(t.Context(), redirecttest.Broken()) }); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	h.Run(t, "sh", "-ec", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
	if err := check(); !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), "net.ipv6.conf.all.disable_ipv6") {
		t.Errorf("with IPv6 on, Check said %v", err)
	}
}

// While inbound goes from one method to the other, every call is taken. Each is
// from a port of its own: the kernel drops, in the moment that both methods are
// there, who comes again from a port whose connection the proxy has just closed.
func TestMethodsTakeTurns(t *testing.T) {
	for _, fl := range flavours {
		hosts := testnet.Hosts(t, 2)
		client, h := hosts[0], hosts[1]
		h.Listen(t, "0.0.0.0:15006", testnet.Transparent()).Serve(func(*testnet.Conn) string { return "proxy" })
		h.Listen(t, "0.0.0.0:8080").Serve(func(*testnet.Conn) string { return "workload" })
		apply := func(m redirect.Method) {
			t.Helper()
			r := redirecttest.Broken()
			r.Inbound.Method, r.Inbound.ExcludeSources = m, nil
			if err := on(h, func() error { return New(WithFlavour(fl)).Apply(t.Context(), r) }); err != nil {
				t.Fatal(err)
			}
		}
		apply(redirect.Keep)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; n < 60000; n++ {
				from := testnet.From(netip.AddrPortFrom(client.IP4, uint16(2000+n)))
				c, err := client.TryDial("tcp", netip.AddrPortFrom(h.IP4, 8080).String(), from)
				who := []byte(nil)
				if err == nil {
					who, err = io.ReadAll(c)
					_ = c.Close()
				}
				if string(who) != "proxy" {
					t.Errorf("%s: call %d was answered by %q, %v", fl, n, who, err)
				}
				select {
				case <-stop:
					t.Logf("%s: %d calls", fl, n+1)
					return
				default:
				}
			}
		}()
		for range 10 {
			apply(redirect.Rewrite)
			apply(redirect.Keep)
		}
		close(stop)
		<-done
	}
}

// The rules that were in force before are back, to the letter, when new ones
// fail in IPv6.
func TestFailureBringsBackWhatWas(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	old := redirecttest.Broken()
	old.Outbound.Exclude.UIDs = []uint32{77}
	if err := on(h, func() error { return New(WithFlavour(NFT)).Apply(t.Context(), old) }); err != nil {
		t.Fatal(err)
	}
	dir := stub(t, map[string]string{"ip6tables-nft-restore": `cat >/dev/null; echo "unknown trouble" >&2; exit 1`})
	err := on(h, func() error { return New(WithPath(dir)).Apply(t.Context(), redirecttest.Broken()) })
	if err == nil || !strings.Contains(err.Error(), "unknown trouble") && !errors.Is(err, redirect.ErrNotSupported) {
		t.Errorf("Apply said %v, want the trouble", err)
	}
	if err := on(h, func() error {
		d, err := New(WithFlavour(NFT)).Check(t.Context(), old)
		if len(d) > 0 {
			t.Errorf("what was there is not there: %v", d)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// A program that hangs does not hang the agent.
func TestHangingProgramIsEnded(t *testing.T) {
	dir := stub(t, map[string]string{"iptables-nft-save": "exec sleep 600"})
	h := testnet.Hosts(t, 1)[0]
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := on(h, func() error { _, err := New(WithPath(dir)).Check(ctx, redirecttest.Broken()); return err })
	if err == nil || time.Since(begun) > testnet.Patience {
		t.Errorf("Check said %v after %s", err, time.Since(begun))
	}
}

// Names are unique, fit, and tell tables apart.
func TestNames(t *testing.T) {
	const longest = 28 // XT_EXTENSION_MAXNAMELEN with its end
	seen := make(map[string]string)
	for _, table := range []string{"weft", "weft-b", "weft-a", "abcdefghij", "abcdefghijk", "abcdefghijl", strings.Repeat("a", 31)} {
		for _, role := range []string{"prerouting", "inbound", "output", "dns", "input"} {
			name := chainName(table, genA, role)
			if other, ok := seen[name]; ok || len(name) > longest {
				t.Errorf("%s of %s and %s: %q is used twice or has more than %d bytes", role, table, other, name, longest)
			}
			seen[name] = table
			if g, r, ours := split(table, name); g != genA || r != role || !ours {
				t.Errorf("%q is taken for %q, %q, %t", name, g, r, ours)
			}
		}
	}
	if _, _, ours := split("weft", chainName("weft-b", genA, "dns")); ours {
		t.Error("weft takes weft-b's chains for its own")
	}
	for _, f := range []family{ipv4, ipv6} {
		for _, s := range build(rules{Rules: redirecttest.Broken().Normal()}, f) {
			for _, c := range s.chains {
				names := make(map[string]bool)
				for _, r := range c.rules {
					if names[r.name] || len(r.name) > 255 {
						t.Errorf("%s chain %s: the name %q is used twice or too long", f, c.role, r.name)
					}
					names[r.name] = true
				}
			}
		}
	}
}

// A multiport match takes 15 ports, a range counting as two.
func TestPortsAreSplit(t *testing.T) {
	var c chain
	var ports []redirect.PortRange
	for i := range uint16(20) {
		ports = append(ports, redirect.PortRange{First: 100 + 10*i, Last: 100 + 10*i + i%2})
	}
	c.ports("p", "", ports, rule{target: "RETURN"})
	total := 0
	for _, r := range c.rules {
		list := strings.Split(r.match[strings.LastIndex(r.match, " ")+1:], ",")
		takes := len(list) + strings.Count(r.match, ":")
		total += len(list)
		if takes > portsPerRule {
			t.Errorf("%q takes %d ports", r.match, takes)
		}
	}
	if total != len(ports) {
		t.Errorf("%d ports in rules, want %d", total, len(ports))
	}
}

// wordy are rules with an entry in every list that iptables can have.
func wordy(cgroup string) []redirect.Rules {
	all := redirecttest.Broken()
	owners := redirect.Owners{UIDs: []uint32{7, 8}, GIDs: []uint32{9}, Cgroups: []string{cgroup, "weft-test-none.slice/gone.service"}}
	all.Proxy, all.Outbound.Only, all.Outbound.Exclude, all.DNS.Exclude = owners, owners, owners, owners
	all.Outbound.Only.UIDs, all.Outbound.Only.GIDs = []uint32{1000}, []uint32{1000}
	all.Outbound.Exclude.Cgroups = all.Outbound.Exclude.Cgroups[1:]
	all.Outbound.Only.Cgroups = all.Outbound.Only.Cgroups[:1]
	all.Inbound.ExcludeInterfaces = []string{"wg0", "veth*"}
	all.Outbound.ExcludeInterfaces = []string{"docker0", "br-*"}
	rewrite := all
	rewrite.Inbound.Method = redirect.Rewrite
	forwarded := all
	forwarded.Outbound.ExcludeInterfaces, forwarded.Outbound.Forwarded = nil, []string{"docker0", "br-*"}
	every := forwarded
	every.Inbound.All, every.Inbound.Ports, every.Inbound.ExcludePorts = true, nil, []redirect.PortRange{{First: 22, Last: 22}}
	everyRewritten := every
	everyRewritten.Inbound.Method = redirect.Rewrite
	dnsOnly := redirect.Rules{Marks: all.Marks, DNS: all.DNS}
	return []redirect.Rules{all, rewrite, forwarded, every, everyRewritten, dnsOnly}
}

// Every word comes back as it was written, from both kinds.
func TestEveryWordIsReadBack(t *testing.T) {
	cgroup := newCgroup(t)
	for _, fl := range flavours {
		h := testnet.Hosts(t, 1)[0]
		for i, r := range wordy(cgroup) {
			if fl == Legacy {
				r = withoutCgroups(r)
			}
			if err := on(h, func() error {
				if err := New(WithFlavour(fl)).Apply(t.Context(), r); err != nil {
					return err
				}
				d, err := New(WithFlavour(fl)).Check(t.Context(), r)
				for _, d := range d {
					t.Errorf("%s, rules %d: %s", fl, i, d)
				}
				return err
			}); err != nil {
				t.Errorf("%s, rules %d: %v", fl, i, err)
			}
		}
		if err := on(h, func() error { return New().Remove(t.Context(), "") }); err != nil {
			t.Error(err)
		}
		if got := ourChains(t, h); len(got) > 0 {
			t.Errorf("%s: after Remove ours are in %q", fl, got)
		}
	}
}

func withoutCgroups(r redirect.Rules) redirect.Rules {
	for _, o := range []*redirect.Owners{&r.Proxy, &r.Outbound.Only, &r.Outbound.Exclude, &r.DNS.Exclude} {
		o.Cgroups = nil
	}
	return r
}

// A rule about a cgroup that is gone keeps everybody from changing its table of
// the legacy kind: such rules are refused there, and so would be those that an
// earlier version made, which go with the next Apply.
func TestLegacyNamesNoCgroup(t *testing.T) {
	path := newCgroup(t)
	h := testnet.Hosts(t, 1)[0]
	r := redirecttest.Broken()
	r.Outbound.Only.Cgroups = []string{path}
	err := on(h, func() error { return New(WithFlavour(Legacy)).Apply(t.Context(), r) })
	if !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), "user or group") {
		t.Errorf("said %v, want %v and what to do instead", err, redirect.ErrNotSupported)
	}
	h.Run(t, "iptables-legacy", "-t", "nat", "-N", "WEFT.weft.a.output")
	h.Run(t, "iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-j", "WEFT.weft.a.output")
	h.Run(t, "iptables-legacy", "-t", "nat", "-A", "WEFT.weft.a.output", "-m", "cgroup", "--path", path, "-j", "RETURN")
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, path)); err != nil {
		t.Fatal(err)
	}
	if out, err := h.TryRun(t, "iptables-legacy", "-t", "nat", "-N", "THEIRS"); err == nil {
		t.Errorf("the kernel took a change beside a rule about a cgroup that is gone: nothing speaks against them any more\n%s", out)
	}
	if err := on(h, func() error { return New(WithFlavour(Legacy)).Apply(t.Context(), withoutCgroups(r)) }); err != nil {
		t.Fatal(err)
	}
	h.Run(t, "iptables-legacy", "-t", "nat", "-N", "THEIRS")
}

// A cgroup that is made anew is another, and Check sees it.
func TestCgroupMadeAnewIsSeen(t *testing.T) {
	path := newCgroup(t)
	h := testnet.Hosts(t, 1)[0]
	r := redirecttest.Broken()
	r.Outbound.Only.Cgroups = []string{path}
	look := func() (told string) {
		t.Helper()
		if err := on(h, func() error {
			d, err := New().Check(t.Context(), r)
			told = fmt.Sprint(d)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return told
	}
	apply := func() {
		t.Helper()
		if err := on(h, func() error { return New().Apply(t.Context(), r) }); err != nil {
			t.Fatal(err)
		}
		if told := look(); told != "[]" {
			t.Errorf("after Apply: %s", told)
		}
	}
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	apply()
	if err := os.Remove(filepath.Join(root, path)); err != nil {
		t.Fatal(err)
	}
	if told := look(); !strings.Contains(told, "of enrolled cgroup "+path) || !strings.Contains(told, "is not ours") {
		t.Errorf("of a folder that is gone is told %s", told)
	}
	apply()
	if err := os.Mkdir(filepath.Join(root, path), 0o755); err != nil {
		t.Fatal(err)
	}
	if told := look(); !strings.Contains(told, "of enrolled cgroup "+path) || !strings.Contains(told, "is missing") {
		t.Errorf("of a folder that is made anew is told %s", told)
	}
	apply()
}

// What iptables has no means for is refused, each in words.
func TestWhatIptablesCannotIsRefused(t *testing.T) {
	for want, spoil := range map[string]func(r *redirect.Rules){
		"where a forwarded connection will leave": func(r *redirect.Rules) {
			r.Outbound.Forwarded, r.Outbound.ExcludeInterfaces = []string{"docker0"}, []string{"eth1"}
		},
		`no cgroup called "a b"`:      func(r *redirect.Rules) { r.Outbound.Only.Cgroups = []string{"a b"} },
		`no interface called "eth+"`:  func(r *redirect.Rules) { r.Inbound.ExcludeInterfaces = []string{"eth+"} },
		`no interface called "!eth0"`: func(r *redirect.Rules) { r.Outbound.Forwarded = []string{"!eth0"} },
		`no interface called "-j"`:    func(r *redirect.Rules) { r.Outbound.ExcludeInterfaces = []string{"-j"} },
	} {
		r := redirecttest.Broken()
		spoil(&r)
		if _, err := New().Describe(r); !errors.Is(err, redirect.ErrNotSupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("said %v, want %v and %q", err, redirect.ErrNotSupported, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*nat\n:WEFT.weft.a.output - [0:0]\n-A OUTPUT -m comment --comment \"x \\\" y\" -j WEFT.weft.a.output\n-A WEFT.weft.a.output ! -d\nCOMMIT\n")
	f.Add("*\n:\n-A \n-A x -j")
	f.Fuzz(func(t *testing.T, text string) {
		h := parse("weft", text)
		for _, fam := range []family{ipv4, ipv6} {
			want := build(rules{Rules: redirecttest.Broken().Normal()}, fam)
			compare("weft", fam, want, h, genA)
			for _, phase := range [][]wish{prepared("weft", want, genB, h), settled("weft", want, genA), as(h)} {
				restoreText(phase, h)
				wished(phase, h)
			}
		}
	})
}

// Whatever rules name, what iptables gets is lines about chains of ours.
func FuzzDescribe(f *testing.F) {
	for _, r := range wordy("a/b") {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	line := regexp.MustCompile(`^(#.*|\*(filter|raw|mangle|nat)|COMMIT|:WEFT\.[-a-z0-9_]+\.(a\.)?[a-z]+ - \[0:0\]|-A WEFT\.[-a-z0-9_]+\.(a\.)?[a-z]+ .*|-[ID] (INPUT|OUTPUT|PREROUTING) .*|(create|add|del) WEFT\.[-a-z0-9_]+\.(all|a|b|lease) .*)$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		var r redirect.Rules
		if json.Unmarshal(text, &r) != nil {
			return
		}
		described, err := New().Describe(r)
		if err != nil {
			return
		}
		for l := range strings.Lines(described) {
			l = strings.TrimSuffix(l, "\n")
			if !line.MatchString(l) {
				t.Errorf("%s makes the line %q", text, l)
			}
			words, ok := tokens(l)
			verbs := 0
			for _, w := range words {
				if w == "-j" || w == "-g" {
					verbs++
				}
			}
			if strings.HasPrefix(l, "-") && (!ok || verbs != 1) {
				t.Errorf("%s makes the rule %q, with %d targets", text, l, verbs)
			}
		}
	})
}
