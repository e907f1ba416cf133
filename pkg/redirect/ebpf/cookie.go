//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// soNetnsCookie is SO_NETNS_COOKIE of asm-generic/socket.h, Linux 5.14.
const soNetnsCookie = 71

// netnsCookie is the number of the calling thread's network namespace, which no
// other one has until the next boot.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, soNetnsCookie)
	if errors.Is(err, unix.ENOPROTOOPT) {
		cookie, err = askProgram(fd)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace's cookie: %w", err)
	}
	return cookie, nil
}

// askProgram asks for the cookie where no socket option tells it: by a program
// on this process's cgroup, which writes it down when this very socket connects
// to a port of ours.
func askProgram(fd int) (cookie uint64, err error) {
	if err := permitted(netAdmin, sysAdmin); err != nil {
		return 0, err
	}
	tree, err := findTree("")
	if err != nil {
		return 0, err
	}
	at, err := tree.own()
	if err != nil {
		return 0, err
	}
	cgroup, err := os.Open(at)
	if err != nil {
		return 0, err
	}
	defer cgroup.Close()
	told, err := ebpf.NewMap(&ebpf.MapSpec{Name: "cookie", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return 0, explain(err)
	}
	defer told.Close()
	port := uint16(1 + rand.N(1<<16-1))
	p, err := ebpf.NewProgram(cookieProgram(told, port))
	if err != nil {
		return 0, lacking(err)
	}
	defer p.Close()
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(cgroup.Fd()), Program: p, Attach: ebpf.AttachCGroupInet4Connect})
	if err != nil {
		return 0, notAttached(hooks[len(hooks)-2], at, err)
	}
	defer l.Close()
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))); err != nil {
		return 0, err
	}
	if err := told.Lookup(uint32(0), &cookie); err != nil {
		return 0, err
	}
	if cookie == 0 {
		return 0, errors.New("the program was not asked")
	}
	return cookie, nil
}

// userPort is where user_port lies in struct bpf_sock_addr.
const userPort = 24

func cookieProgram(told *ebpf.Map, port uint16) *ebpf.ProgramSpec {
	const key, value = -4, -16
	return &ebpf.ProgramSpec{
		Name: "weft_cookie", Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, userPort, asm.Word),
			asm.JNE.Imm(asm.R2, int32(networkOrder(port)), "out"),
			asm.FnGetNetnsCookie.Call(),
			asm.StoreMem(asm.RFP, value, asm.R0, asm.DWord),
			asm.StoreImm(asm.RFP, key, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, told.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, key),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, value),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("out"),
			asm.Return(),
		},
	}
}
