// Package identity is who a host is: it makes the host's keys, has them
// certified by the control plane, renews the certificates and hands them out.
//
// Private keys are made here and leave neither the host nor its state folder,
// except to the local Envoy. A host has two certificates: the agent's, by which
// the control plane knows it, and the workload's, by which its peers do.
package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/proxy"
)

var (
	// ErrNotJoined: there is no identity in the folder.
	ErrNotJoined = errors.New("this host has not joined a mesh")
	// ErrExpired: the agent's certificate is past its end, so that the control
	// plane knows this host no more.
	ErrExpired = errors.New("the agent's certificate has expired")
)

const rejoin = "make a token on the control plane with `weftctl join-token` and run `weft-agent join` with it"

// Files of the state folder.
const (
	agentName    = "agent"    // .key, .crt
	workloadName = "workload" // .key, .crt
	authorityCrt = "authority.crt"
	rootsCrt     = "roots.crt"
)

// Identity is one joined host's. Set the exported fields before anything else
// is called; its methods may then be called at once from many goroutines.
type Identity struct {
	// Addresses are where control planes are, host:port.
	Addresses []string
	// Mark is set on sockets to the control plane where the process may
	// (proxy.MarkAgent, so that redirection leaves them alone).
	Mark uint32
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: slog.Default

	dir       string
	id        proxy.ID
	authority *x509.Certificate

	mu        sync.Mutex
	agent     pair
	workload  pair // cert is nil before the first Register and in a mesh without mTLS
	roots     []byte
	changed   chan struct{} // closed when what Current returns has changed
	dataplane []byte        // the last that Register was called with
	asked     int           // counts what has to be registered: documents and calls of Renew
	taken     int           // the last of those that the control plane took
	turn      int           // which address is next
	lastError string
	lastTry   time.Time

	wake chan struct{} // capacity 1: Run has to look again
	one  sync.Mutex    // one Register at a time
}

// Open loads the identity that Join left in dir. It fails with ErrNotJoined
// where there is none and with keyfile.ErrExposed where others could have read
// a key. An expired identity opens, so that Status can tell; Dial then fails.
func Open(dir string) (*Identity, error) {
	i := &Identity{dir: dir, changed: make(chan struct{}), wake: make(chan struct{}, 1)}
	if err := i.load(); err != nil {
		return nil, fmt.Errorf("open the identity in %s: %w", dir, err)
	}
	i.turn = rand.IntN(1 << 20) // spreads hosts over control planes
	return i, nil
}

func (i *Identity) load() error {
	if _, err := os.Stat(i.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotJoined, rejoin)
	}
	if err := keyfile.Dir(i.dir); err != nil {
		return err
	}
	agent, err := loadPair(i.dir, agentName)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotJoined, rejoin)
	}
	if err != nil {
		return fmt.Errorf("%w; if it cannot be mended, %s", err, rejoin)
	}
	data, err := keyfile.ReadPublic(filepath.Join(i.dir, authorityCrt))
	if err != nil {
		return err
	}
	if i.authority, err = parseCert(data); err != nil {
		return fmt.Errorf("%s: %w; %s", authorityCrt, err, rejoin)
	}
	if i.id, err = agentID(agent.leaf); err != nil {
		return err
	}
	i.agent = agent
	i.workload, i.roots, err = i.loadWorkload()
	if errors.Is(err, keyfile.ErrExposed) {
		return err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Register replaces it; until then Envoy has none.
		i.workload, i.roots = pair{}, nil
		i.lastError = fmt.Sprintf("workload certificate on disk not used: %v", err)
	}
	return nil
}

func (i *Identity) loadWorkload() (pair, []byte, error) {
	w, err := loadPair(i.dir, workloadName)
	if err != nil {
		return pair{}, nil, err
	}
	roots, err := keyfile.ReadPublic(filepath.Join(i.dir, rootsCrt))
	if err != nil {
		return pair{}, nil, err
	}
	return w, roots, nil
}

// agentID reads weft://<mesh>/dataplane/<name>?… .
func agentID(leaf *x509.Certificate) (proxy.ID, error) {
	var u *url.URL
	if len(leaf.URIs) == 1 {
		u = leaf.URIs[0]
	}
	if u == nil || u.Scheme != "weft" || u.Host == "" || !strings.HasPrefix(u.Path, "/dataplane/") {
		return proxy.ID{}, fmt.Errorf("agent.crt is no agent's certificate; %s", rejoin)
	}
	return proxy.ID{Mesh: u.Host, Name: strings.TrimPrefix(u.Path, "/dataplane/")}, nil
}

// ID is the dataplane that this host joined as.
func (i *Identity) ID() proxy.ID { return i.id }

// Secrets are what Envoy proves itself and knows its peers with, as PEM. They
// print as their version alone.
type Secrets struct {
	// Version differs whenever the rest differs; "" means nothing yet.
	Version     string
	Certificate []byte // leaf, then chain
	Key         []byte
	Roots       []byte
}

// String hides the key.
func (s Secrets) String() string { return "secrets " + s.Version }

// GoString hides the key.
func (s Secrets) GoString() string { return s.String() }

// LogValue hides the key.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Current returns what is in force, and a channel that is closed once that has
// changed. A certificate stays in force, past its end if need be, until there is
// a newer one: peers judge it, not we.
func (i *Identity) Current() (Secrets, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.workload.leaf == nil {
		return Secrets{}, i.changed
	}
	h := sha256.New()
	h.Write(i.workload.cert)
	h.Write(i.roots)
	return Secrets{
		Version:     hex.EncodeToString(h.Sum(nil)[:8]),
		Certificate: bytes.Clone(i.workload.cert),
		Key:         bytes.Clone(i.workload.keyPEM),
		Roots:       bytes.Clone(i.roots),
	}, i.changed
}

func (i *Identity) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

func (i *Identity) log() *slog.Logger {
	if i.Log == nil {
		return slog.Default()
	}
	return i.Log
}
