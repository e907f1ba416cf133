package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// queryTime bounds the wait for a resolver.
const queryTime = 2 * time.Second

// maxResolvers is how many the C library asks. Source: resolv.conf(5), MAXNS.
const maxResolvers = 3

// examineResolvers asks each of the host's resolvers, and looks whether there
// are more of them than there should be.
func examineResolvers(ctx context.Context, p patient) (checks []Check) {
	text, err := os.ReadFile(p.cfg.ResolvConf)
	if err != nil {
		return ill("write one that names the host's DNS servers, or set resolvConf", "%s", err)
	}
	var servers []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			if slices.Contains(servers, f[1]) {
				checks = append(checks, ill("name it once", "%s names %s twice", p.cfg.ResolvConf, f[1])...)
				continue
			}
			servers = append(servers, f[1])
		}
	}
	switch {
	case len(servers) == 0:
		return ill("add a line such as \"nameserver 9.9.9.9\"", "%s names no server: names outside of the mesh are not found", p.cfg.ResolvConf)
	case len(servers) > maxResolvers:
		checks = append(checks, ill("name three at most", "%s names %d; programs that ask by themselves ask the first three only, the agent asks all", p.cfg.ResolvConf, len(servers))...)
	}
	answered := 0
	for _, s := range servers {
		took, err := query(ctx, s, p.cfg.mark())
		switch {
		case err != nil:
			checks = append(checks, ill("mend or replace it; the agent asks the others first meanwhile", "%s does not answer: %s", s, err)...)
		case took > time.Second:
			checks = append(checks, ill("mend or replace it", "%s took %s to answer", s, took.Round(time.Millisecond))...)
		default:
			answered++
		}
	}
	checks = append(checks, resolverPrograms()...)
	if len(checks) == 0 {
		return fine("%s answer", strings.Join(servers, ", "))
	}
	return checks
}

// resolverPrograms tells where several programs serve DNS to this host.
func resolverPrograms() []Check {
	all, err := sockets.Find(sockets.Query{})
	if err != nil {
		return nil
	}
	at := map[netip.AddrPort]uint32{}
	for _, s := range all {
		if s.Local.Port() == 53 && s.Remote.Port() == 0 && (s.UDP || s.State == sockets.Listening) {
			at[s.Local] = s.Inode
		}
	}
	var (
		programs []string
		inodes   []uint32
	)
	for _, inode := range at {
		inodes = append(inodes, inode)
	}
	holders, err := sockets.Holders(inodes...)
	if err != nil {
		return nil
	}
	for _, hs := range holders {
		for _, h := range hs {
			if pr, err := sockets.Look(h.PID); err == nil && !slices.Contains(programs, pr.Name) {
				programs = append(programs, pr.Name)
			}
		}
	}
	slices.Sort(programs)
	if len(programs) < 2 {
		return nil
	}
	return ill("stop and disable all but the one that resolv.conf means", "%d programs serve DNS on this host: %s", len(programs), strings.Join(programs, ", "))
}

// query asks a server for the root's own servers, around the redirection.
func query(ctx context.Context, server string, mark uint32) (took time.Duration, err error) {
	d := net.Dialer{Timeout: queryTime, Control: func(_, _ string, raw syscall.RawConn) error {
		if mark == 0 {
			return nil
		}
		return markSocket(raw, mark)
	}}
	conn, err := d.DialContext(ctx, "udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(queryTime))
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 53, RecursionDesired: true}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET,
	}}}
	packed, err := m.Pack()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := conn.Write(packed); err != nil {
		return 0, err
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// examinePorts finds who has a port that agent or Envoy are to have.
func examinePorts(ctx context.Context, p patient) (checks []Check) {
	if p.status.PID != 0 {
		return nil // they are the agent's own
	}
	for _, of := range p.cfg.ports() {
		if of.port == 0 || of.key == "port" || of.key == "probePort" || !p.cfg.Redirect && (of.key == "inboundPort" || of.key == "outboundPort") {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", of.port))
		if err != nil {
			checks = append(checks, ill(fmt.Sprintf("ss -lntp 'sport = :%d' shows who has it; stop that, or set another %s. An Envoy that has outlived its agent is taken back by the next", of.port, of.key), "%s: %s", of.key, err)...)
			continue
		}
		_ = l.Close()
	}
	return checks
}

// examineRights finds what this process may not do that the agent must.
func examineRights(_ context.Context, p patient) []Check {
	if !p.cfg.Redirect || canMark() {
		return nil
	}
	return ill("run it as root, or as the agent's unit does: with CAP_NET_ADMIN, and CAP_BPF for the ebpf engine; or set redirect: false, and name explicit outbounds",
		"this process may not change this host's network (%s)", proxyCapability)
}

const proxyCapability = "CAP_NET_ADMIN, by which sockets are marked and rules written"
