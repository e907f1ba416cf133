//go:build linux

package ebpf

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// A spot is what a program hangs on.
type spot int

const (
	onTree  spot = iota // the folder of the cgroup tree that sees every process
	onProxy             // the proxy's own cgroup
	onNetns             // the network namespace
)

// A hook is a program and where it hangs.
type hook struct {
	name    string // of the pinned link
	program string
	attach  ebpf.AttachType
	on      spot
	what    string // what would not work without it
	since   string // the kernel that has it, configured with CONFIG_CGROUP_BPF
}

// hooks are all of them, in the order in which they are attached: who answers
// is there before who asks.
var hooks = []hook{
	{"lookup", programProgWeftLookup, ebpf.AttachSkLookup, onNetns, "connections are handed to the proxy's listeners", "Linux 5.9"},
	{"getsockopt", programProgWeftGetsockopt, ebpf.AttachCGroupGetsockopt, onProxy, "the proxy is told original destinations", "Linux 5.7"},
	{"getpeername4", programProgWeftPeername4, ebpf.AttachCgroupInet4GetPeername, onTree, "IPv4 callers see whom they called", "Linux 5.8"},
	{"getpeername6", programProgWeftPeername6, ebpf.AttachCgroupInet6GetPeername, onTree, "IPv6 callers see whom they called", "Linux 5.8"},
	{"recvmsg4", programProgWeftRecvmsg4, ebpf.AttachCGroupUDP4Recvmsg, onTree, "IPv4 answers come from whom was asked", "Linux 5.7"},
	{"recvmsg6", programProgWeftRecvmsg6, ebpf.AttachCGroupUDP6Recvmsg, onTree, "IPv6 answers come from whom was asked", "Linux 5.7"},
	{"sockops", programProgWeftSockops, ebpf.AttachCGroupSockOps, onTree, "original destinations reach the proxy's connections", "Linux 5.8"},
	{"sendmsg4", programProgWeftSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, onTree, "IPv4 queries are sent to the agent", "Linux 5.7"},
	{"sendmsg6", programProgWeftSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, onTree, "IPv6 queries are sent to the agent", "Linux 5.7"},
	{"connect4", programProgWeftConnect4, ebpf.AttachCGroupInet4Connect, onTree, "IPv4 calls are sent to the proxy", "Linux 5.8"},
	{"connect6", programProgWeftConnect6, ebpf.AttachCGroupInet6Connect, onTree, "IPv6 calls are sent to the proxy", "Linux 5.8"},
}

func hookOf(name string) (hook, bool) {
	name, _, _ = strings.Cut(name, "_")
	for _, h := range hooks {
		if h.name == name {
			return h, true
		}
	}
	return hook{}, false
}

// programsVersion tells the programs of one build from those of another.
func programsVersion() uint64 {
	sum := sha256.Sum256(_ProgramBytes)
	return binary.LittleEndian.Uint64(sum[:8])
}

// load brings programs into the kernel, with maps of their own or with those
// that are there already.
func load(maps map[string]*ebpf.Map) (*ebpf.Collection, error) {
	spec, err := loadProgram()
	if err != nil {
		return nil, err
	}
	delete(spec.Maps, ".bss") // keeps the name of a type, and nothing else
	clear(spec.Variables)
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory, which maps count against before Linux 5.11: %w", explain(err))
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, lacking(err)
	}
	return c, nil
}

// A hanger is where the programs of one place hang.
type hanger struct {
	tree  tree
	netns *os.File
}

// attach hangs a program on its spot. cgroup is the proxy's, where it is that.
func (h hanger) attach(k hook, p *ebpf.Program, cgroup string) (*link.RawLink, error) {
	target := h.netns
	if k.on != onNetns {
		at := h.tree.attach
		if k.on == onProxy {
			at = cgroup
		}
		f, err := os.Open(at)
		if err != nil {
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		defer f.Close()
		target = f
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(target.Fd()), Program: p, Attach: k.attach})
	if err != nil {
		return nil, notAttached(k, target.Name(), err)
	}
	return l, nil
}

// pin hangs a program and pins its link under a name, in one step where there
// is another already.
func (h hanger) pin(dir string, k hook, p *ebpf.Program, cgroup, name string) (err error) {
	l, err := h.attach(k, p, cgroup)
	if err != nil {
		return err
	}
	defer l.Close()
	at := filepath.Join(linksIn(dir), name)
	_ = os.Remove(at + aside)
	if err := l.Pin(at + aside); err != nil {
		return fmt.Errorf("pin %s: %w", name, explain(err))
	}
	if err := os.Rename(at+aside, at); err != nil {
		return errors.Join(fmt.Errorf("pin %s: %w", name, explain(err)), os.Remove(at+aside))
	}
	return nil
}

// proxyLink is the name of the pin of hook getsockopt on a cgroup.
func proxyLink(cgroup uint64) string { return "getsockopt_" + strconv.FormatUint(cgroup, 10) }

// A hanging is a pinned link as it is.
type hanging struct {
	name   string
	hook   hook
	known  bool   // the name is one of ours
	target uint64 // cgroup's id or namespace's inode; 0 when that is gone
	broken string // why it is none that could hang there
}

func readLinks(dir string) (out []hanging, err error) {
	pins, err := os.ReadDir(linksIn(dir))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list pins: %w", explain(err))
	}
	for _, pin := range pins {
		if strings.HasSuffix(pin.Name(), aside) {
			continue
		}
		h := hanging{name: pin.Name()}
		h.hook, h.known = hookOf(pin.Name())
		target, attached, err := targetOf(filepath.Join(linksIn(dir), pin.Name()))
		switch {
		case err != nil:
			h.broken = err.Error()
		case h.known && attached != h.hook.attach:
			h.broken = fmt.Sprintf("it is a link for %s", attached)
		}
		h.target = target
		out = append(out, h)
	}
	return out, nil
}

// targetOf tells where a link hangs, and as what.
func targetOf(pin string) (target uint64, attached ebpf.AttachType, err error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	i, err := l.Info()
	if err != nil {
		return 0, 0, err
	}
	if ns := i.NetNs(); ns != nil {
		return uint64(ns.NetnsInode), ebpf.AttachType(ns.AttachType), nil
	}
	if cg := i.Cgroup(); cg != nil {
		return cg.CgroupId, ebpf.AttachType(cg.AttachType), nil
	}
	return 0, 0, errors.New("it is no link of this kind")
}
