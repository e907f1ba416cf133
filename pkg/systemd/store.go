package systemd

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// A Store has systemd hold sockets of this service from one of its lives to the
// next: what comes to them meanwhile waits there. It takes
// FileDescriptorStoreMax= in the unit. Where there is none, or no systemd
// started the program, the store holds sockets for the life of the program. The
// zero value is such a store.
type Store struct {
	log *slog.Logger

	mu   sync.Mutex
	held map[string]*os.File
}

// OpenStore takes over what systemd holds for this program, and hides it from
// programs that this one starts.
func OpenStore(log *slog.Logger) *Store {
	s := &Store{log: log, held: map[string]*os.File{}}
	for _, f := range activation.Files(true) {
		if s.held[f.Name()] != nil { // nobody of ours gives a name twice
			_ = f.Close()
			continue
		}
		s.held[f.Name()] = f
	}
	return s
}

// Take is the socket that is held by a name, nil for none. It stays the store's:
// a user works with a copy (net.FileListener, net.FilePacketConn).
func (s *Store) Take(name string) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[name]
}

// Keep holds a copy of a socket by a name, in place of what was held by it.
func (s *Store) Keep(name string, socket interface{ File() (*os.File, error) }) {
	if runtime.GOOS == "windows" {
		return // nobody holds sockets there, and none can be copied
	}
	f, err := socket.File()
	if err == nil {
		s.hold(name, f)
		// Nothing is to be polled: an error that is due to a client is none of the socket's.
		err = pass(f, "FDSTORE=1", "FDNAME="+name, "FDPOLL=0")
	}
	if err != nil && s.log != nil {
		s.log.Warn("systemd does not hold a socket for the next start: what comes meanwhile is lost", "socket", name, "error", err)
	}
}

func (s *Store) hold(name string, f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]*os.File{}
	}
	if old := s.held[name]; old != nil {
		_ = old.Close()
	}
	s.held[name] = f
}

// Drop gives up what is held by a name.
func (s *Store) Drop(name string) {
	s.mu.Lock()
	f := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if f == nil {
		return
	}
	_ = f.Close()
	if err := pass(nil, "FDSTOREREMOVE=1", "FDNAME="+name); err != nil && s.log != nil {
		s.log.Warn("systemd was not told to give up a socket", "socket", name, "error", err)
	}
}

// Retain gives up everything that is not held by one of these names.
func (s *Store) Retain(names []string) {
	s.mu.Lock()
	held := slices.Collect(maps.Keys(s.held))
	s.mu.Unlock()
	for _, name := range held {
		if !slices.Contains(names, name) {
			s.Drop(name)
		}
	}
}

// pass tells systemd something about a file, where it started this program.
func pass(f *os.File, lines ...string) error {
	addr := &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"}
	if addr.Name == "" {
		return nil
	}
	conn, err := net.DialUnix(addr.Net, nil, addr)
	if err != nil {
		return fmt.Errorf("speak with systemd: %w", err)
	}
	defer conn.Close()
	if err := send(conn, []byte(strings.Join(lines, "\n")), f); err != nil {
		return fmt.Errorf("tell systemd %s: %w", strings.Join(lines, " "), err)
	}
	return nil
}
