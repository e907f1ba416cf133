//go:build linux

package nftables

import (
	"net/netip"
	"slices"
	"testing"
)

func TestSetsTellTheirPrefixes(t *testing.T) {
	for _, want := range [][]netip.Prefix{
		nil,
		{netip.MustParsePrefix("240.0.0.0/4")},
		{netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/10"), netip.MustParsePrefix("192.0.2.1/32")},
		{netip.MustParsePrefix("fd57:6566:7400::/64"), netip.MustParsePrefix("fe00::/7")},
	} {
		k := typeIP
		if len(want) > 0 && want[0].Addr().Is6() {
			k = typeIP6
		}
		if got := prefixSet("s", want, k).prefixes(); !slices.Equal(got, want) {
			t.Errorf("a set of %v tells %v", want, got)
		}
	}
}
