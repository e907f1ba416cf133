package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/keyfile"
)

// ErrImpostor: what answered is not the control plane that the join token is
// of. The token was not sent.
var ErrImpostor = errors.New("not the control plane of this join token")

// JoinOptions say how a host joins. The first three fields are those of an
// api.JoinToken.
type JoinOptions struct {
	Addresses []string // of control planes, host:port, tried in turn
	Authority string   // SHA-256 of its authority's SubjectPublicKeyInfo, in hex
	Token     string   // dataplane token; spent here and kept nowhere
	Dataplane []byte   // the JSON document that will be registered
	Dir       string   // where the identity is left, 0700; made where it is not there
	Mark      uint32   // as in Identity
	Now       func() time.Time
	Log       *slog.Logger
}

// joinTimeout bounds the try of one address.
const joinTimeout = 10 * time.Second

// Join spends the token for a certificate and returns the host's identity, which
// it leaves in Dir, in place of one that is there. The token is sent only over a
// connection whose chain leads to the authority with the pinned hash and whose
// name is the address that was dialled. An answer that refuses the token or the
// document is final; what cannot be reached is passed over.
func Join(ctx context.Context, o JoinOptions) (*Identity, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := keyfile.Dir(o.Dir); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	p, authority, err := o.spend(ctx)
	if err != nil {
		return nil, err
	}
	i := newIdentity(o.Dir, o.Log)
	i.Addresses, i.Mark, i.Now, i.Log = o.Addresses, o.Mark, o.Now, o.Log
	if i.id, err = agentID(p.leaf); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	i.agent, i.authorities = p, []*x509.Certificate{authority}
	i.contact.at = o.Now()
	// The workload's certificate of an earlier joining goes: it may be of
	// another mesh, and Register brings a new one.
	for _, name := range []string{workloadName, agentName} {
		if err := i.files.forget(name); err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
	}
	if err := errors.Join(i.forgetLearned(), i.files.save(agentName, i.id.String(), i.agentDocument())); err != nil {
		return nil, fmt.Errorf("join: keep the identity: %w", err)
	}
	return i, nil
}

// spend has a new key certified at the first address that does.
func (o *JoinOptions) spend(ctx context.Context) (p pair, authority *x509.Certificate, err error) {
	pin, err := hex.DecodeString(o.Authority)
	if err != nil || len(pin) != sha256.Size {
		return p, nil, errors.New("join: the authority's hash is not a SHA-256 in hex; copy the join token again")
	}
	if len(o.Addresses) == 0 {
		return p, nil, errors.New("join: the join token names no control plane")
	}
	fresh, csr, err := newKey()
	if err != nil {
		return p, nil, fmt.Errorf("join: %w", err)
	}
	var failed []error
	for _, address := range o.Addresses {
		cert, authority, err := o.ask(ctx, address, pin, csr)
		if err != nil {
			failed = append(failed, fmt.Errorf("join at %s: %w", address, err))
			if final(err) || ctx.Err() != nil {
				break
			}
			continue
		}
		pool := x509.NewCertPool()
		pool.AddCert(authority)
		if fresh, err = fresh.certified(cert, pool, x509.ExtKeyUsageClientAuth, o.Now()); err != nil {
			return p, nil, fmt.Errorf("join at %s: %w", address, err)
		}
		id, err := agentID(fresh.leaf)
		if err != nil {
			return p, nil, fmt.Errorf("join at %s: %w", address, err)
		}
		o.Log.Info("host joined", "mesh", id.Mesh, "dataplane", id.Name, "control_plane", address, "expires", fresh.leaf.NotAfter)
		return fresh, authority, nil
	}
	return p, nil, errors.Join(failed...)
}

// final tells whether an error is the control plane's answer, which another
// address would give as well.
func final(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.NotFound, codes.ResourceExhausted:
		return true
	}
	return false
}

// ask joins at one address. It returns the certificate and the authority that
// the connection was verified with.
func (o *JoinOptions) ask(ctx context.Context, address string, pin, csr []byte) ([]byte, *x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("address %q is not host:port", address)
	}
	check := &pinned{pin: pin, host: host, now: o.Now}
	conn, err := dial([]string{address}, check.config(), o.Mark, tellHost()...)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", o.Token)
	resp, err := hostv1.NewHostClient(conn).Join(ctx, &hostv1.JoinRequest{Dataplane: o.Dataplane, Csr: csr}, grpc.WaitForReady(false))
	authority, impostor := check.result()
	if err != nil {
		if impostor != nil { // plainer than what gRPC makes of it
			return nil, nil, impostor
		}
		return nil, nil, refusal{err}
	}
	return resp.GetCertificate(), authority, nil
}

// pinned verifies a control plane that is known by its authority's hash alone.
type pinned struct {
	pin  []byte
	host string // name or address that was dialled
	now  func() time.Time

	mu        sync.Mutex
	authority *x509.Certificate
	refusal   error
}

// config makes crypto/tls leave the verification to us, since there is no
// authority's certificate yet that it could verify with. VerifyConnection runs
// on every handshake, before anything is sent.
func (p *pinned) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Time:               p.now,
		InsecureSkipVerify: true, //nolint:gosec // verified whole by VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			authority, err := p.verify(cs)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.authority, p.refusal = authority, err
			return err
		},
	}
}

func (p *pinned) result() (*x509.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.authority, p.refusal
}

func (p *pinned) verify(cs tls.ConnectionState) (*x509.Certificate, error) {
	refuse := func(why string) (*x509.Certificate, error) {
		return nil, fmt.Errorf("%w: %s; the token was not sent. Check the address, or make a new token with `weftctl join-token`", ErrImpostor, why)
	}
	if len(cs.PeerCertificates) == 0 {
		return refuse("it showed no certificate")
	}
	var authority *x509.Certificate
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if c.IsCA && c.BasicConstraintsValid && subtle.ConstantTimeCompare(sum[:], p.pin) == 1 {
			authority = c
		} else {
			between.AddCert(c)
		}
	}
	if authority == nil {
		return refuse("its authority's hash is not the one in the join token")
	}
	// The certificate is not pinned, only its key: it must be signed by it too.
	if !bytes.Equal(authority.RawIssuer, authority.RawSubject) || authority.CheckSignatureFrom(authority) != nil {
		return refuse("its authority's certificate is not its own")
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: p.host, CurrentTime: p.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var host x509.HostnameError
	switch {
	case err == nil:
		return authority, nil
	case errors.As(err, &host):
		return refuse(fmt.Sprintf("its certificate is not for %q; let the control plane know that name by --advertise", p.host))
	default:
		return refuse(err.Error())
	}
}
