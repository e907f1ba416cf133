//go:build linux

package sockets

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
)

func TestFind(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	l := h.Listen(t, "[::1]:8080", testnet.Transparent())
	c := h.Dial(t, "tcp", "[::1]:8080", testnet.Mark(0x42), testnet.UID(1000))
	served := l.Accept(t)
	h.ListenUDP(t, "127.0.0.1:53")
	find := func(q Query) (found []Socket) {
		t.Helper()
		if err := h.Do(func() (err error) {
			found, err = Find(q)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if all := find(Query{}); len(all) != 3 {
		t.Errorf("TCP: %+v", all)
	}
	listening := find(Query{States: []State{Listening}})
	if len(listening) != 1 || listening[0].Local != netip.MustParseAddrPort("[::1]:8080") {
		t.Errorf("listening: %+v", listening)
	}
	far := find(Query{Remote: c.Local().Port()})
	if len(far) != 1 || far[0].Local != served.Local() || far[0].Remote != c.Local() || far[0].State != Established || !far[0].Transparent {
		t.Errorf("the far end: %+v", far)
	}
	near := find(Query{Local: c.Local().Port()})
	if len(near) != 1 || near[0].Mark != 0x42 || near[0].UID != 1000 || near[0].Transparent {
		t.Errorf("the near end: %+v", near)
	}
	if udp := find(Query{UDP: true}); len(udp) != 1 || udp[0].Local != netip.MustParseAddrPort("127.0.0.1:53") {
		t.Errorf("UDP: %+v", udp)
	}
	holders, err := Holders(listening[0].Inode, near[0].Inode)
	if err != nil || len(holders) != 2 || !slices.ContainsFunc(holders[near[0].Inode], func(d Descriptor) bool { return d.PID == os.Getpid() }) {
		t.Errorf("held by %+v, %v", holders, err)
	}
}

// The far end of an IPv4 connection may be an IPv6 socket.
func TestMapped(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	var found []Socket
	if err := h.Do(func() error {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: 80}) // both families
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.Dial("tcp", "127.0.0.1:80")
		if err != nil {
			return err
		}
		defer c.Close()
		found, err = Find(Query{Remote: netip.MustParseAddrPort(c.LocalAddr().String()).Port()})
		return err
	}); err != nil || len(found) != 1 || found[0].Local != netip.MustParseAddrPort("127.0.0.1:80") {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestLook(t *testing.T) {
	p, err := Look(os.Getpid())
	if err != nil || p.Name == "" || p.UID != uint32(os.Geteuid()) || p.GID != uint32(os.Getegid()) || p.Elsewhere {
		t.Errorf("%+v, %v", p, err)
	}
	h := testnet.Hosts(t, 1)[0]
	if err := h.Do(func() (err error) {
		p, err = Look(os.Getppid())
		return err
	}); err != nil || !p.Elsewhere {
		t.Errorf("from another namespace: %+v, %v", p, err)
	}
	if _, err := Look(math.MaxInt32); !errors.Is(err, ErrNoProcess) {
		t.Errorf("nobody: %v", err)
	}
	if got := Parent(os.Getpid()); got != os.Getppid() {
		t.Errorf("parent %d, want %d", got, os.Getppid())
	}
}
