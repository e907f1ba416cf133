//go:build linux

package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// A slot is where the programs look for a listener.
type slot = programListenerKey

// slots are the listeners that the proxy has now, by their place in the map
// listeners, as the program sockops would put them: inbound at every address,
// outbound at loopback, or for want of that at every address.
func slots(r redirect.Rules, all []sockets.Socket) map[slot]sockets.Socket {
	out := make(map[slot]sockets.Socket)
	for _, l := range all {
		a := l.Local.Addr()
		s := slot{Port: l.Local.Port(), Family: 6}
		if a.Is4() {
			s.Family = 4
		}
		switch l.Local.Port() {
		case r.Inbound.To:
			if !a.IsUnspecified() {
				continue
			}
			s.Kind = toInbound
		case r.Outbound.To:
			if _, had := out[s]; !a.IsLoopback() && (!a.IsUnspecified() || had) {
				continue
			}
			s.Kind = toProxy
		default:
			continue
		}
		if _, had := out[s]; had && a.IsUnspecified() && s.Kind == toProxy {
			continue
		}
		out[s] = l
	}
	return out
}

// proxyListeners finds them.
func proxyListeners(r redirect.Rules) (map[slot]sockets.Socket, error) {
	all, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.Listening}})
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: the kernel does not list sockets (CONFIG_INET_TCP_DIAG; modprobe tcp_diag), so that the proxy's listeners cannot be found; %s (%w)", redirect.ErrNotSupported, instead, err)
	}
	if err != nil {
		return nil, err
	}
	return slots(r, all), nil
}

// adopted are the listeners in the map, by their cookies.
func (p pinned) adopted() (map[slot]uint64, error) {
	out := make(map[slot]uint64)
	var (
		key    slot
		cookie uint64
	)
	it := p["listeners"].Iterate()
	for it.Next(&key, &cookie) {
		out[key] = cookie
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read map listeners: %w", err)
	}
	return out, nil
}

// adopt puts listeners that were there before the programs into their map.
func (p pinned) adopt(want map[slot]sockets.Socket) error {
	have, err := p.adopted()
	if err != nil {
		return err
	}
	var missing []uint32
	for s, l := range want {
		if have[s] != l.Cookie {
			missing = append(missing, l.Inode)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	holders, err := sockets.Holders(missing...)
	if err != nil {
		return err
	}
	for s, l := range want {
		if have[s] == l.Cookie || len(holders[l.Inode]) == 0 {
			continue // or closed meanwhile
		}
		if err := p.adoptFrom(s, holders[l.Inode]); err != nil {
			return fmt.Errorf("take the proxy's listener %s over: %w", l.Local, err)
		}
	}
	return nil
}

func (p pinned) adoptFrom(s slot, holders []sockets.Descriptor) (err error) {
	for _, h := range holders {
		var fd int
		if fd, err = duplicate(h); err != nil {
			continue
		}
		err = p["listeners"].Update(s, uint64(fd), ebpf.UpdateAny)
		_ = unix.Close(fd)
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("%w: it is no plain TCP listener, which MPTCP's are not; switch that off (%w)", redirect.ErrNotSupported, err)
		case err != nil:
			return explain(err)
		}
		return nil
	}
	return err
}

func duplicate(d sockets.Descriptor) (int, error) {
	p, err := unix.PidfdOpen(d.PID, 0)
	if err != nil {
		return -1, fmt.Errorf("open process %d: %w", d.PID, err)
	}
	defer func() { _ = unix.Close(p) }()
	fd, err := unix.PidfdGetfd(p, d.FD, 0)
	if err != nil {
		return -1, fmt.Errorf("ask process %d for its socket (CAP_SYS_PTRACE): %w", d.PID, err)
	}
	return fd, nil
}
