//go:build linux

package pending

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Abort ends pending calls to services with ECONNABORTED, where redirection
// acts when a call begins and no more: nobody will ever answer them, and who is
// told so may call again. Calls to others go on, as those may answer.
func Abort(r redirect.Rules) error {
	all, err := calls(r)
	if err != nil || len(all) == 0 {
		return err
	}
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return fmt.Errorf("end calls: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(kernelTime)); err != nil {
		return fmt.Errorf("end calls: %w", err)
	}
	var errs []error
	for _, call := range all {
		if call.decision.Rule != vips {
			continue
		}
		_, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: destroySocket, Flags: netlink.Request | netlink.Acknowledge},
			Data:   call.socket(),
		})
		if err != nil && !lacking(err) {
			errs = append(errs, fmt.Errorf("end the call %s -> %s: %w", call.Local, call.Remote, err))
		}
	}
	return errors.Join(errs...)
}

const (
	// vips is the rule by which services are redirected; see package explain.
	vips = "vips"

	kernelTime    = 10 * time.Second // for what takes milliseconds
	destroySocket = 21               // SOCK_DESTROY in linux/sock_diag.h
	socketLen     = 56               // struct inet_diag_req_v2 in linux/inet_diag.h
)

// socket names a call's socket to the kernel.
func (c call) socket() []byte {
	b := make([]byte, socketLen)
	b[0], b[1] = unix.AF_INET, unix.IPPROTO_TCP
	if c.Remote.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[4:], 1<<c.State)
	for at, end := range map[int]netip.AddrPort{0: c.Local, 1: c.Remote} {
		binary.BigEndian.PutUint16(b[8+2*at:], end.Port())
		copy(b[12+16*at:], end.Addr().AsSlice())
	}
	binary.NativeEndian.PutUint32(b[44:], c.Interface)
	binary.NativeEndian.PutUint32(b[48:], uint32(c.Cookie))
	binary.NativeEndian.PutUint32(b[52:], uint32(c.Cookie>>32))
	return b
}
