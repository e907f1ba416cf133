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
	"net/url"
	"os"
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

// Files of the state folder, see folder.
const (
	agentName    = "agent"    // .pem: key, certificate, the control plane's authority
	workloadName = "workload" // .pem: key, certificate, roots
)

// Identity is one joined host's. Set the exported fields before anything else
// is called; its methods may then be called at once from many goroutines.
type Identity struct {
	// Addresses are where control planes are, host:port. What control planes
	// say themselves is used before these.
	Addresses []string
	// TokenFile holds a join token, by which this host joins again when its
	// certificate has expired. It is read anew each time. "": a person has to.
	TokenFile string
	// OnPutOut is called when this host was put out of the mesh, see Heed; nil:
	// nobody is told.
	OnPutOut func()
	// Mark is set on sockets to the control plane where the process may
	// (proxy.MarkAgent, so that redirection leaves them alone).
	Mark uint32
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: slog.Default

	files folder
	id    proxy.ID

	mu sync.Mutex
	// authorities are whom this host takes for the control plane: two, while one
	// of them is exchanged for the other.
	authorities []*x509.Certificate
	agent       pair
	workload    pair // cert is nil before the first Register and in a mesh without mTLS
	roots       []byte
	about       about
	changed     chan struct{} // closed when what Current returns has changed
	dataplane   []byte        // the last that Register was called with
	asked       int           // counts what has to be registered: documents and calls of Renew
	taken       int           // the last of those that the control plane took
	lastError   string
	lastTry     time.Time
	putOut      string // why this host is none of the mesh's any more; "": it is
	anew        anew   // another workload certificate that is wanted
	anewAgent   anew   // another certificate of the agent's that is wanted
	contact     contact
	grace       bool              // peers with expired certificates are let in
	learned     []string          // where control planes are, as they say
	next        string            // the address that is tried first, once
	last        string            // the address of the control plane that was heard last on a stream
	remotes     map[string]string // remote address of a connection: by which address it was dialled
	unsaved     map[string]bool   // by file
	saveFault   string            // why; "" when all is saved

	wake   chan struct{} // capacity 1: Run has to look again
	back   chan struct{} // capacity 1: a control plane answers again
	one    sync.Mutex    // one Register at a time
	saving sync.Mutex
}

func newIdentity(dir string, log *slog.Logger) *Identity {
	return &Identity{
		files: folder{dir: dir, log: log}, unsaved: map[string]bool{}, remotes: map[string]string{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1), back: make(chan struct{}, 1),
	}
}

// Open loads the identity that Join left in dir. It fails with ErrNotJoined
// where there is none and with keyfile.ErrExposed where others could have read
// a key. An expired identity opens, so that Status can tell; Dial then fails.
//
// A file that is torn, corrupt or another host's is moved aside, and the one
// before it is used; without log nothing is moved.
func Open(dir string, log *slog.Logger) (*Identity, error) {
	i := newIdentity(dir, log)
	if err := i.load(); err != nil {
		return nil, fmt.Errorf("open the identity in %s: %w", dir, err)
	}
	i.contact = i.readContact()
	i.learned = i.readLearned()
	return i, nil
}

func (i *Identity) load() error {
	if _, err := os.Stat(i.files.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotJoined, rejoin)
	}
	if err := keyfile.Dir(i.files.dir); err != nil {
		return err
	}
	err := i.files.load(agentName, i.takeAgent)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s", ErrNotJoined, rejoin)
	case errors.Is(err, keyfile.ErrExposed):
		return err
	case err != nil:
		return fmt.Errorf("%w; if it cannot be mended, %s", err, rejoin)
	}
	err = i.files.load(workloadName, i.takeWorkload)
	if errors.Is(err, keyfile.ErrExposed) {
		return err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Register replaces it; until then Envoy has none.
		i.lastError = fmt.Sprintf("workload certificate on disk not used: %v", err)
	}
	return nil
}

func (i *Identity) takeAgent(owner string, d document) error {
	p, err := pairOf(d)
	if err != nil {
		return err
	}
	id, err := agentID(p.leaf)
	if err != nil {
		return err
	}
	if id.String() != owner {
		return fmt.Errorf("it is of %.200q and holds the certificate of %q", owner, id)
	}
	authorities := certs(d.roots)
	if len(authorities) == 0 {
		return errors.New("it lacks the control plane's authority")
	}
	i.agent, i.id, i.authorities = p, id, authorities
	return nil
}

func (i *Identity) takeWorkload(owner string, d document) error {
	if owner != i.id.String() {
		return fmt.Errorf("it is of %.200q and not of %q", owner, i.id)
	}
	p, err := pairOf(d)
	if err != nil {
		return err
	}
	if _, err := parseCert(d.roots); err != nil {
		return fmt.Errorf("its roots: %w", err)
	}
	i.workload, i.roots, i.about = p, d.roots, d.about
	return nil
}

// agentID reads weft://<mesh>/dataplane/<name>?… .
func agentID(leaf *x509.Certificate) (proxy.ID, error) {
	var u *url.URL
	if len(leaf.URIs) == 1 {
		u = leaf.URIs[0]
	}
	if u == nil || u.Scheme != "weft" || u.Host == "" || !strings.HasPrefix(u.Path, "/dataplane/") {
		return proxy.ID{}, fmt.Errorf("it is no agent's certificate; %s", rejoin)
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
	// AcceptExpired: no control plane has been heard for so long that peers may
	// have no newer certificate than one that expired. It is never longer than
	// one of the roots lives.
	AcceptExpired bool
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
	s := Secrets{
		Certificate:   bytes.Clone(i.workload.cert),
		Key:           bytes.Clone(i.workload.keyPEM),
		Roots:         bytes.Clone(i.roots),
		AcceptExpired: i.grace,
	}
	if i.grace {
		s.Roots = living(i.roots, i.now()) // their end is not looked at then
	}
	h := sha256.New()
	h.Write(s.Certificate)
	h.Write(s.Roots)
	fmt.Fprint(h, s.AcceptExpired)
	s.Version = hex.EncodeToString(h.Sum(nil)[:8])
	return s, i.changed
}

// tell says that what Current returns has changed. It is called with the lock.
func (i *Identity) tell() {
	close(i.changed)
	i.changed = make(chan struct{})
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
