//go:build linux

package ebpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// What is refused for want of a means has none on this kernel either: a program
// that sees a call may not ask for its route, and one that looks for a listener
// changes no packet. Where this fails there is something to be made of it.
func TestWhatIsRefusedHasNoMeans(t *testing.T) {
	for _, c := range []struct {
		what    string
		program ebpf.ProgramType
		helper  asm.BuiltinFunc
	}{
		{"outbound.excludeInterfaces", ebpf.CGroupSockAddr, asm.FnFibLookup},
		{"outbound.excludeInterfaces", ebpf.SockOps, asm.FnFibLookup},
		{"outbound.forwarded", ebpf.SkLookup, asm.FnSkbChangeType},
		{"inbound.method", ebpf.SkLookup, asm.FnSkbStoreBytes},
	} {
		if err := features.HaveProgramHelper(c.program, c.helper); !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%s is refused, and yet %s has %s: %v", c.what, c.program, c.helper, err)
		}
	}
	// The question itself is answered: tc programs may ask for routes.
	if err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnFibLookup); err != nil {
		t.Errorf("tc programs have no %s: %v", asm.FnFibLookup, err)
	}
}
