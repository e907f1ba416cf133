//go:build linux

package ebpf

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
)

func TestSelfTest(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	testnet.SkipIfUnsupported(t, h.Do(func() error { return New(WithCgroup(ownCgroup())).SelfTest(t.Context()) }))
}

// A kernel that tells the namespace's cookie by a socket option tells the same
// to a program.
func TestCookie(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	if err := h.Do(func() error {
		want, err := netnsCookie()
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		if got, err := askProgram(fd); err != nil || got != want {
			t.Errorf("a program was told %d, %v, want %d", got, err, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
