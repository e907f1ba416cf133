//go:build linux

package route

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

func TestMarksInUse(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	h.Run(t, "sh", "-ec", "ip rule add fwmark 0x4000/0xc000 lookup 100; ip rule add fwmark 0x1 lookup 101; ip rule add priority 7 fwmark 0x1000/0xf000 lookup 102; ip -6 rule add priority 8 fwmark 0x2000 lookup 103")
	var found []redirect.Difference
	if err := h.Do(func() (err error) {
		found, err = MarksInUse(0x3000)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"ip rule 7, for marks 0x1000 is one that looks at mark bits 0x3000", "ip -6 rule 8, for marks 0x2000 is one that looks at mark bits 0x2000"}
	if len(found) != len(want) {
		t.Fatalf("found %v", found)
	}
	for i, d := range found {
		if !strings.HasPrefix(d.String(), want[i]) || d.Remedy == "" {
			t.Errorf("told %q, want %q", d, want[i])
		}
	}
}
