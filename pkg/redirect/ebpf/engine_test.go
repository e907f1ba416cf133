//go:build linux

package ebpf

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// here is the folder of the calling shell's network namespace and default
// table: 71 is SO_NETNS_COOKIE.
const here = `at=/sys/fs/bpf/weft/weft@$(python3 -c 'import socket; print(int.from_bytes(socket.socket().getsockopt(1, 71, 8), "little"))'); `

func suiteEngine() redirecttest.Engine {
	return redirecttest.Engine{
		Name:         "ebpf",
		New:          func() redirect.Redirector { return engine() },
		RouteMetric:  2,
		State:        state,
		PlansInWords: true,
		AfterNAT:     true,
		Gone:         here + "rm -r $at",
		ByHand:       here + "rm -r $at $at+lock; rmdir /sys/fs/bpf/weft || true; ip route flush proto 87; ip -6 route flush proto 87",
		HalfDone: map[string]string{
			"a folder without anything":  here + "mkdir -p $at",
			"what was built aside":       here + "mkdir -p $at+new/links $at+new/maps",
			"links without maps":         here + "rm -rf $at/maps",
			"another version in between": here + "test ! -d $at || mv $at $at+old",
		},
		Breakages: []redirecttest.Breakage{
			{Name: "everything", Script: here + "rm -r $at", Want: []string{"redirection of table weft in"}},
			{Name: "a hook", Script: here + "rm $at/links/connect4", Want: []string{"program connect4, by which IPv4 calls are sent to the proxy, is missing"}},
			{Name: "another", Script: here + "rm $at/links/lookup", Want: []string{"program lookup, by which connections are handed to the proxy's listeners, is missing"}},
			{Name: "the proxy's hook", Script: here + "rm $at/links/getsockopt_*", Want: []string{"by which the proxy is told original destinations, is missing"}},
			{Name: "a hook in the wrong place", Script: here + "mv $at/links/sendmsg4 $at/links/sendmsg6", Want: []string{
				"program sendmsg4, by which IPv4 queries are sent to the agent, is missing", "program sendmsg6, by which IPv6 queries are sent to the agent, is broken"}},
			{Name: "a hook more", Script: here + "mv $at/links/connect6 $at/links/other", Want: []string{
				"program connect6, by which IPv6 calls are sent to the proxy, is missing", "link other is not ours"}},
			{Name: "a map", Script: here + "rm $at/maps/flows", Want: []string{"is missing or another version's"}},
			{Name: "half put in place", Script: here + "mv $at $at+old", Want: []string{"an earlier redirection of table weft in", "redirection of table weft in"}},
			{Name: "this host's address", Script: "ip addr add 203.0.113.5/32 dev lo", Want: []string{"this host's address 203.0.113.5/32 is missing"}},
			{Name: "an address that it had", Script: "ip addr del 198.51.100.10/24 dev eth0", Want: []string{"this host's address 198.51.100.10/32 is not ours"}},
		},
	}
}

func TestEngine(t *testing.T) { redirecttest.Run(t, suiteEngine()) }

// state is what this host has pinned, by what the kernel calls it.
func state(t *testing.T, h *testnet.Host) string {
	t.Helper()
	var b strings.Builder
	if err := h.Do(func() error {
		netns, _, err := namespace()
		if err != nil {
			return err
		}
		p := place{bpffs: defaultPins, netns: netns}
		dirs, err := p.folders(func(_ string, n uint64) bool { return n == netns })
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			fmt.Fprintln(&b, dir)
			links, err := readLinks(dir)
			if err != nil {
				return err
			}
			for _, l := range links {
				fmt.Fprintf(&b, "%s on %d\n", l.name, l.target)
			}
			maps, ok, err := openMaps(dir)
			if err != nil || !ok {
				return err
			}
			defer maps.close()
			c, _, err := maps.config()
			if err != nil {
				return err
			}
			e, err := maps.entries()
			if err != nil {
				return err
			}
			fmt.Fprintln(&b, c.Generation, len(e.networks), len(e.owners), len(e.interfaces))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}
