package host

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Reader is what of the store is read here.
type Reader interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
}

// tokens is what an Auth needs of a token.Issuer.
type tokens interface {
	Verify(ctx context.Context, raw, mesh string) (token.Claims, error)
	Known(ctx context.Context, raw string) error
	Revoked(ctx context.Context, mesh, id string) (bool, error)
	Spend(ctx context.Context, c token.Claims, key crypto.PublicKey) error
}

// Sources are what callers are judged by.
type Sources struct {
	Store  Reader
	Tokens tokens
}

// Auth says who is calling on the hosts' port.
type Auth struct {
	Sources
	// Seen answers as Sources did a moment ago, without asking the store. What it
	// allows may have been taken back in that moment, so that it opens no stream.
	// Without it Sources are asked each time.
	Seen Sources
	Now  func() time.Time // nil: time.Now
	// Open lets proxies that show no credential be whom they say
	// (--dp-auth none, for load tests). Join, Register and Leave are not
	// opened by it.
	Open bool
	// Elsewhere tells whether another control plane on this store has a stream of
	// the proxy; nil: there is no other.
	Elsewhere func(id proxy.ID) bool
	// Trusts tells whether certificates of an authority of the control plane's own
	// are still good; nil: those that the handshake has verified are.
	Trusts func(root *x509.Certificate) bool
	// ControlPlanes tells where control planes are, host:port, for hosts to turn
	// to when this one goes away. Nil, or none: hosts keep the list they have.
	ControlPlanes func() []string
	// Audit is told of what hosts change; nil tells nobody.
	Audit *audit.Log
	Log   *slog.Logger // nil: slog.Default

	seats   seats
	told    audit.Refusals // in the log
	audited audit.Refusals
}

func (a *Auth) log() *slog.Logger {
	if a.Log == nil {
		return slog.Default()
	}
	return a.Log
}

func (a *Auth) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// TLSConfig is for the hosts' port: TLS 1.3, and whoever shows a certificate
// must have it from the control plane's own authority. Whoever shows none is
// let through to the interceptors. Sessions are not resumed: a resumed one
// would stand on an old check of the certificate.
func TLSConfig(own *ca.Own, now func() time.Time) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         own.GetCertificate,
		ClientAuth:             tls.VerifyClientCertIfGiven,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"h2"},
		Time:                   now,
	}
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		one := c.Clone() // whom to believe may change
		one.ClientCAs, one.GetConfigForClient = own.Pool(), nil
		return one, nil
	}
	return c
}

const rejoin = "join this host again: `weft-agent join` with a new token of `weftctl join-token`"

// Agent returns what the caller's certificate permits. Its end and the
// revocation of its token are looked at on every call, since a connection can
// outlive both.
func (a *Auth) Agent(ctx context.Context) (Grant, error) { return a.agent(ctx, a.Sources) }

func (a *Auth) agent(ctx context.Context, by Sources) (Grant, error) {
	cert := peerCertificate(ctx)
	if cert == nil {
		return Grant{}, fmt.Errorf("%w: this call needs the agent's certificate: %s", ErrUnauthenticated, rejoin)
	}
	if now := a.now(); now.After(cert.NotAfter) {
		return Grant{}, fmt.Errorf("%w: the agent's certificate expired on %s: %s",
			ErrUnauthenticated, cert.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"), rejoin)
	}
	if a.Trusts != nil && !a.Trusts(rootOf(ctx)) {
		return Grant{}, fmt.Errorf("%w: the agent's certificate is of an authority of the control plane's that was exchanged for another one: %s", ErrUnauthenticated, rejoin)
	}
	if len(cert.URIs) != 1 {
		return Grant{}, fmt.Errorf("%w: it must have one name and has %d", ErrGrant, len(cert.URIs))
	}
	g, err := ParseGrant(cert.URIs[0].String())
	if err != nil {
		return Grant{}, err
	}
	if g.Token == "" {
		return g, by.evicted(ctx, g)
	}
	revoked, err := by.Tokens.Revoked(ctx, g.ID.Mesh, g.Token)
	if err != nil {
		return Grant{}, err
	}
	if revoked {
		return Grant{}, fmt.Errorf("%w: the token that this host joined with was revoked: %s", ErrPutOut, rejoin)
	}
	return g, by.evicted(ctx, g)
}

// Proxy checks that the caller may be the proxy that it says it is: by an
// agent's certificate of just that id, or, without a certificate, by a dataplane
// token that allows the Dataplane as it is stored. Either way the Dataplane must
// be there. Call it when a stream opens. Its errors are gRPC statuses.
func (a *Auth) Proxy(ctx context.Context, claimed proxy.ID) error {
	return Status(a.proxy(ctx, claimed, a.Sources))
}

// ProxyAgain is Proxy for a stream that is open: call it from time to time, and
// when something was taken back. What is seen may be too old to allow what the
// store does, so that the store has the last word.
func (a *Auth) ProxyAgain(ctx context.Context, claimed proxy.ID) error {
	if a.Seen.Store != nil && a.proxy(ctx, claimed, a.Seen) == nil {
		return nil
	}
	return a.Proxy(ctx, claimed)
}

func (a *Auth) proxy(ctx context.Context, claimed proxy.ID, by Sources) error {
	if peerCertificate(ctx) != nil {
		g, err := a.agent(ctx, by)
		if err != nil {
			return err
		}
		if g.ID != claimed {
			return fmt.Errorf("%w: this host joined as %s and not as %s", ErrDenied, quote(g.ID), quote(claimed))
		}
		dp, err := by.dataplane(ctx, claimed)
		if err != nil {
			return err
		}
		if err := denied(g.Allows(dp)); err != nil {
			return err
		}
		return a.seated(ctx, g, dp)
	}
	if a.Open {
		return nil
	}
	raw, err := bareToken(ctx)
	if err != nil {
		return err
	}
	claims, err := by.Tokens.Verify(ctx, raw, claimed.Mesh)
	if err != nil {
		return err
	}
	if claims.Once {
		return fmt.Errorf("%w: the token is for one joining (weft-agent join) and opens no stream; a proxy without an agent needs one of `weftctl token dataplane`", ErrDenied)
	}
	if claims.Name != "" && claims.Name != claimed.Name { // before the store tells what is there
		return fmt.Errorf("%w: the token is for %s only", ErrDenied, quote(proxy.ID{Mesh: claimed.Mesh, Name: claims.Name}))
	}
	dp, err := by.dataplane(ctx, claimed)
	if err != nil {
		return err
	}
	return denied(claims.Allows(dp))
}

func (by Sources) dataplane(ctx context.Context, id proxy.ID) (mesh.Resource, error) {
	dp, err := by.Store.Get(ctx, dataplaneKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return dp, fmt.Errorf("dataplane %s is not registered: start its agent, or put its Dataplane with `weftctl apply`: %w", quote(id), store.ErrNotFound)
	}
	return dp, err
}

func dataplaneKey(id proxy.ID) mesh.Key {
	return mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: id.Mesh, Name: id.Name}
}

// quote makes an id that a stranger sent fit one log line.
func quote(id proxy.ID) string { return fmt.Sprintf("%.128q", id.String()) }

// peerCertificate is the certificate that the TLS handshake has verified, or nil.
func peerCertificate(ctx context.Context) *x509.Certificate {
	if chain := peerChain(ctx); chain != nil {
		return chain[0]
	}
	return nil
}

// rootOf is the authority that peerCertificate leads to.
func rootOf(ctx context.Context) *x509.Certificate {
	chain := peerChain(ctx)
	return chain[len(chain)-1]
}

func peerChain(ctx context.Context) []*x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0]
}

// bareToken is the caller's dataplane token: the value of "authorization", as
// it is, once.
func bareToken(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	switch values := md.Get("authorization"); {
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("%w: this call needs a dataplane token as metadata authorization, or an agent's certificate", ErrUnauthenticated)
	case len(values) > 1:
		return "", fmt.Errorf("%w: there are %d values of metadata authorization, one is allowed", ErrUnauthenticated, len(values))
	default:
		return values[0], nil
	}
}
