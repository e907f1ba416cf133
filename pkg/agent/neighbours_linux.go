package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// neighbourSockets begins the names of the sockets at which agents tell each
// other their rules, with the table's name behind it. They are in the abstract
// namespace ("@"), which is the network namespace's own and knows no files: what
// is there belongs to an agent that runs. Both sides look who the other is.
const neighbourSockets = "@weft-agent/redirect/"

// neighbourTime bounds the talk with one.
const neighbourTime = time.Second

// maxNeighbour bounds what one says, in bytes.
const maxNeighbour = 1 << 20

// tellNeighbours tells other agents of this network namespace what this one
// redirects, until ctx ends.
func (w *Workload) tellNeighbours(ctx context.Context) error {
	if !w.cfg.Redirect {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", neighbourSockets+w.wish().Normal().Table)
	if err != nil {
		w.log.Warn("other agents on this host are not told what this one redirects", "error", err)
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil // ctx has ended
		}
		_ = conn.SetDeadline(time.Now().Add(neighbourTime))
		if trusted(conn) {
			_ = json.NewEncoder(conn).Encode(neighbour{os.Getpid(), w.cfg.Name, w.wish().Normal()})
		}
		_ = conn.Close()
	}
}

// neighbours asks the other agents of this network namespace for their rules.
// Who is no agent of root's or of our own user is passed over.
func neighbours(ctx context.Context, table string) (out []neighbour, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for other agents: %w", err)
	}
	asked := map[string]bool{neighbourSockets + table: true}
	for l := range strings.Lines(string(text)) {
		words := strings.Fields(l)
		name := words[len(words)-1]
		if !strings.HasPrefix(name, neighbourSockets) || asked[name] {
			continue
		}
		asked[name] = true
		n, err := ask(ctx, name)
		if err == nil {
			out = append(out, n)
		}
	}
	return out, nil
}

func ask(ctx context.Context, name string) (n neighbour, err error) {
	d := net.Dialer{Timeout: neighbourTime}
	conn, err := d.DialContext(ctx, "unix", name)
	if err != nil {
		return n, err
	}
	defer conn.Close()
	if !trusted(conn) {
		return n, errors.New("not an agent's")
	}
	_ = conn.SetDeadline(time.Now().Add(neighbourTime))
	return n, json.NewDecoder(io.LimitReader(conn, maxNeighbour)).Decode(&n)
}

// trusted tells whether the other side is root or our own user.
func trusted(conn net.Conn) bool {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return false
	}
	uid := -1
	err = raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(peer.Uid)
		}
	})
	return err == nil && (uid == 0 || uid == os.Geteuid())
}
