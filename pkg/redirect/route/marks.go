//go:build linux

package route

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// MarksInUse tells which routing rules (ip rule) look at bits of packets'
// marks that are ours.
func MarksInUse(mask uint32) (out []redirect.Difference, err error) {
	err = with(func(h *netlink.Handle) error {
		for _, f := range []struct {
			family  int
			command string
		}{{netlink.FAMILY_V4, "ip rule"}, {netlink.FAMILY_V6, "ip -6 rule"}} {
			rules, err := h.RuleList(f.family)
			if err != nil {
				return fmt.Errorf("list routing rules: %w", explain(err))
			}
			for _, r := range rules {
				looked := r.Mark & mask
				if r.Mask != nil && *r.Mask != ^uint32(0) {
					looked = *r.Mask & mask
				}
				if r.Mark == 0 && r.Mask == nil || looked == 0 {
					continue
				}
				out = append(out, redirect.Difference{
					What:   fmt.Sprintf("%s %d, for marks %#x", f.command, r.Priority, r.Mark),
					Is:     fmt.Sprintf("one that looks at mark bits %#x, by which Weft tells its proxy (mask %#x)", looked, mask),
					Remedy: fmt.Sprintf("have it use bits outside of %#x; look at it: %s show priority %d", mask, f.command, r.Priority),
				})
			}
		}
		return nil
	})
	return out, err
}
