package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// ErrUnsafe: the redirection would lock its owner out, or would not know its
// own proxy. Nothing was touched.
var ErrUnsafe = errors.New("not safe on this host")

// An SSHSession is one by which a person is on this host.
type SSHSession struct{ Client, Server netip.AddrPort }

// FindSSHSession looks for the session that this process was started from: in
// its own environment and, since sudo and su leave little of that, in those of
// the processes above it.
func FindSSHSession(getenv func(string) string) (SSHSession, bool) {
	const key = "SSH_CONNECTION"
	if s, ok := readSSHSession(getenv(key)); ok {
		return s, true
	}
	for pid := os.Getppid(); pid > 1; pid = sockets.Parent(pid) {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			continue
		}
		for v := range strings.SplitSeq(string(text), "\x00") {
			if value, ok := strings.CutPrefix(v, key+"="); ok {
				return readSSHSession(value)
			}
		}
	}
	return SSHSession{}, false
}

// readSSHSession reads "CLIENT PORT SERVER PORT", ssh(1).
func readSSHSession(text string) (s SSHSession, ok bool) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return s, false
	}
	for i, end := range []*netip.AddrPort{&s.Client, &s.Server} {
		a, err := netip.ParseAddr(words[2*i])
		port, portErr := strconv.ParseUint(words[2*i+1], 10, 16)
		if err != nil || portErr != nil {
			return s, false
		}
		*end = netip.AddrPortFrom(a.WithZone("").Unmap(), uint16(port))
	}
	return s, true
}

// captured tells whether rules take new connections like that of the session.
func (s SSHSession) captured(r redirect.Rules) bool {
	f := explain.Flow{In: "any", From: s.Client, To: s.Server}
	return explain.Final(explain.Explain(r, f, explain.Host{Addresses: []netip.Addr{s.Server.Addr()}})).Verdict == explain.Inbound
}

// Guard tells everything by which rules would not be safe on this host, in one
// error that wraps ErrUnsafe.
func (c *Config) Guard(rules redirect.Rules, session *SSHSession) error {
	var errs []error
	if session != nil && !c.CaptureSSH && session.captured(rules) {
		errs = append(errs, fmt.Errorf("%w: you are here by SSH, at port %d, which Envoy would take: add excludeInbound: port:%d, or set captureSsh: true", ErrUnsafe, session.Server.Port(), session.Server.Port()))
	}
	if !c.ShareMarks {
		used, err := marksInUse()
		if err != nil {
			return err
		}
		for _, d := range used {
			errs = append(errs, fmt.Errorf("%w: %s; or set shareMarks: true", ErrUnsafe, d))
		}
	}
	return errors.Join(errs...)
}

// Advice is what somebody should know who applies without a trial; "" is
// nothing.
func (s SSHSession) Advice(r redirect.Rules) string {
	if !r.Inbound.All && !s.captured(r) {
		return ""
	}
	return "you are here by SSH, and every port is redirected: with --confirm-within 60s the kernel takes it off again unless you confirm"
}
