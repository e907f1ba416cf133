//go:build linux

package nftables

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestMarksInUse(t *testing.T) {
	for _, c := range []struct {
		name, script, want string // "": nothing
	}{
		{"looks at one", "meta mark and 0x1000 == 0x1000 accept", "one that looks at mark bits 0x1000"},
		{"looks at many", "meta mark and 0xffff == 0x1 accept", "one that looks at mark bits 0x3000"},
		{"looks at a whole mark with ours", "meta mark 0x2000 accept", "one that looks at mark bits 0x2000"},
		{"looks at a whole mark without ours", "meta mark 0x4000 accept", ""},
		{"looks at others", "meta mark and 0xc000 == 0x4000 accept", ""},
		{"sets ours", "meta mark set 0x1000", "one that sets mark bits 0x1000"},
		{"adds ours", "meta mark set meta mark or 0x2000", "one that sets mark bits 0x2000"},
		{"clears ours", "meta mark set meta mark and 0xffffcfff", "one that sets mark bits 0x3000"},
		{"adds another", "meta mark set meta mark or 0x4000", ""},
		{"sets another", "meta mark set 0x4000", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			install(t, h, everything()) // which has rules about marks itself
			h.Run(t, "nft", "table inet other { chain c { type filter hook output priority 0; "+c.script+"; }; }")
			expectMarks(t, h, c.want)
		})
	}
	for name, rule := range map[string]string{"-m mark --mark 0x1000/0x1000 -j ACCEPT": "looks at mark bits 0x1000", "-j MARK --set-xmark 0x2000/0x2000": "sets mark bits 0x2000", "-j MARK --set-xmark 0x4000/0x4000": ""} {
		t.Run("iptables "+name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			h.Run(t, "sh", "-ec", "iptables-nft -t mangle -A OUTPUT "+name)
			expectMarks(t, h, rule)
		})
	}
}

func expectMarks(t *testing.T, h *testnet.Host, want string) {
	t.Helper()
	var found []redirect.Difference
	if err := h.Do(func() (err error) {
		found, err = MarksInUse(0x3000)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].Is, want)) {
		t.Errorf("found %v, want %q", found, want)
	}
}
