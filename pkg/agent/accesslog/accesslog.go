// Package accesslog takes the lines of Envoy's access logs and puts them where
// they are meant to go: into files, and to collectors by TCP.
//
// Nothing waits for a destination. Each has a queue of its own, bounded in
// bytes, and is tried again with back-off while it cannot be had; what does not
// fit into the queue meanwhile is dropped and counted. Lines get there once at
// most: what a collector's kernel has taken counts as delivered.
package accesslog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Config is what a Server depends on.
type Config struct {
	// Socket is where Envoy's lines arrive; its folder must be open to the
	// agent's user alone.
	Socket string
	// UID is whose the socket is, where Envoy runs as another user; 0: the agent's.
	UID int
	// Dial connects to a collector, host:port, around or through the mesh.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Bounds of what lines may hold up.
const (
	maxSinks = 32
	maxQueue = 4 << 20 // bytes of lines a sink holds
	// maxIdle is how long a sink without lines is kept.
	maxIdle = 10 * time.Minute
	// lastWords is how long Run goes on to write what is queued after its
	// context has ended.
	lastWords = 2 * time.Second
)

// A Server is one host's.
type Server struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	sinks   map[string]*sink
	running sync.WaitGroup
	life    context.Context // of the sinks; nil before Run
	refused int64           // lines for which there was no sink
}

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, log: cfg.Log, sinks: map[string]*sink{}}
}

// Run takes lines until ctx ends, then writes for a short while what is still
// queued and returns nil. It fails where it cannot listen.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(ctx, s.cfg.Socket, s.cfg.UID)
	if err != nil {
		return fmt.Errorf("listen for access logs: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.mu.Lock()
	s.life = life
	s.mu.Unlock()
	err = s.serve(ctx, l)
	s.drain(end)
	return err
}

// drain ends the sinks, those with lines after they had the time to write them.
func (s *Server) drain(end func()) {
	s.mu.Lock()
	for _, k := range s.sinks {
		k.queue.close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	late := time.NewTimer(lastWords)
	defer late.Stop()
	select {
	case <-done:
		return
	case <-late.C:
	}
	end()
	// One that hangs in a write of the kernel's ends with the process.
	late.Reset(lastWords)
	select {
	case <-done:
	case <-late.C:
		s.log.Warn("access logs were not written to the end")
	}
}

// take queues the lines of one batch. It never blocks.
func (s *Server) take(name string, lines [][]byte) {
	if len(lines) == 0 {
		return
	}
	k := s.sink(name)
	if k == nil {
		return
	}
	k.put(lines)
}

// sink returns the sink called name, which it makes where there is none; nil
// when there may be no more.
func (s *Server) sink(name string) *sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.sinks[name]; ok {
		return k
	}
	to, err := s.destination(name)
	if err == nil && len(s.sinks) >= maxSinks {
		err = fmt.Errorf("there are %d destinations already", maxSinks)
	}
	if err != nil || s.life == nil {
		if s.refused == 0 {
			s.log.Warn("access log lines were dropped", "sink", name, "error", err)
		}
		s.refused++
		return nil
	}
	k := newSink(name, to, s.log.With("sink", name))
	s.sinks[name] = k
	s.running.Go(func() {
		k.run(s.life)
		s.mu.Lock()
		delete(s.sinks, name)
		s.mu.Unlock()
	})
	return k
}

func (s *Server) destination(name string) (destination, error) {
	if path, ok := strings.CutPrefix(name, proxy.LogFile); ok {
		return newFile(path)
	}
	if address, ok := strings.CutPrefix(name, proxy.LogTCP); ok {
		return &collector{address: address, dial: s.cfg.Dial}, nil
	}
	return nil, fmt.Errorf("%.100q names no destination", name)
}

// A Status tells of one destination.
type Status struct {
	Sink    string    `json:"sink"`
	Sent    int64     `json:"sent"`              // lines
	Dropped int64     `json:"dropped,omitempty"` // lines
	Queued  int       `json:"queued,omitempty"`  // bytes
	Failing time.Time `json:"failing,omitzero"`  // since when nothing could be written
	Error   string    `json:"error,omitempty"`   // the last, while it fails
}

// Status tells of every destination, by name.
func (s *Server) Status() (all []Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.sinks)) {
		all = append(all, s.sinks[name].status())
	}
	return all
}
