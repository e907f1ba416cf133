package host

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Service answers the Host service of the hosts' port. Its methods may be
// called at once from many goroutines.
type Service struct {
	hostv1.UnimplementedHostServer

	Auth *Auth
	// Decode reads a JSON document of the kind; what is wrong with it comes
	// back as mesh.Violations (api.DecodeAs).
	Decode func(k *mesh.Kind, data []byte) (mesh.Resource, error)
	// Put stores a resource as if it had come over REST, with all of its
	// checks, and fails as store.Store's does. It may skip a write that would
	// change nothing.
	Put func(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	// Delete is store.Store's.
	Delete func(ctx context.Context, k mesh.Key, at mesh.Version) error

	// Questions are what agents answer; nil: they are asked nothing.
	Questions *Questions
	// Sees tells whether the store is reached now.
	Sees func(ctx context.Context) bool

	// Certified is told of every certificate of a workload, and since when its
	// Dataplane is there; nil tells nobody.
	Certified func(id proxy.ID, m mesh.DataplaneMTLS, since time.Time)

	Own    *ca.Own    // signs agents' certificates
	Meshes *ca.Meshes // signs workloads'
	Log    *slog.Logger
}

// maxDocument bounds a Dataplane. One with a thousand inbounds has 200 kB.
const maxDocument = 256 << 10

// Join implements hostv1.HostServer.
func (s *Service) Join(ctx context.Context, req *hostv1.JoinRequest) (*hostv1.JoinResponse, error) {
	resp, err := s.join(ctx, req)
	return resp, s.finish("join", err)
}

func (s *Service) join(ctx context.Context, req *hostv1.JoinRequest) (*hostv1.JoinResponse, error) {
	raw, err := bareToken(ctx)
	if err != nil {
		return nil, err
	}
	if err := limit("dataplane", req.GetDataplane()); err != nil {
		return nil, err
	}
	// The document's mesh says whose keys to verify the token with. Nothing
	// else of it is read before that is done.
	var named struct {
		Mesh string `json:"mesh"`
	}
	if err := json.Unmarshal(req.GetDataplane(), &named); err != nil || named.Mesh == "" {
		return nil, violation("mesh", "must be set, in a JSON document")
	}
	claims, err := s.Auth.Tokens.Verify(ctx, raw, named.Mesh)
	if err != nil {
		return nil, err
	}
	if _, err := s.mesh(ctx, named.Mesh); err != nil {
		return nil, err
	}
	dp, err := s.decode(req.GetDataplane())
	if err != nil {
		return nil, err
	}
	if err := denied(claims.Allows(dp)); err != nil {
		return nil, err
	}
	if err := dp.Spec.Validate().Err(); err != nil { // told now rather than at Register
		return nil, err
	}
	if dp.Meta.Mesh != named.Mesh {
		return nil, violation("mesh", "is said twice and differently")
	}
	pub, err := ca.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, err
	}
	g, err := newGrant(proxy.ID{Mesh: dp.Meta.Mesh, Name: dp.Meta.Name}, claims)
	if err != nil {
		return nil, err
	}
	existing, err := s.Auth.Store.Get(ctx, dataplaneKey(g.ID))
	if err == nil {
		err = s.Auth.mayHold(existing, g, callerOf(ctx)) // told now rather than at Register
	} else if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	cert, err := s.Own.SignAgent(pub, g.URI(), s.Auth.now())
	if err != nil {
		return nil, err
	}
	if err := s.Auth.Tokens.Spend(ctx, claims, pub); err != nil {
		return nil, err
	}
	audit.Note(ctx, audit.Change{Action: "issue", Kind: "agent certificate", Mesh: g.ID.Mesh, Name: g.ID.Name})
	s.audit(ctx, "host joined", g)
	return &hostv1.JoinResponse{Certificate: cert, Authority: s.Own.PEM()}, nil
}

// Register implements hostv1.HostServer.
func (s *Service) Register(ctx context.Context, req *hostv1.RegisterRequest) (*hostv1.RegisterResponse, error) {
	resp, err := s.register(ctx, req)
	if errors.Is(err, mesh.ErrInvalid) && len(req.GetDataplane())+len(req.GetCsr()) == 0 {
		return nil, Status(err) // asked for the time alone, which is in the headers
	}
	return resp, s.finish("register", err)
}

func (s *Service) register(ctx context.Context, req *hostv1.RegisterRequest) (*hostv1.RegisterResponse, error) {
	g, err := s.Auth.Agent(ctx)
	if err != nil {
		return nil, err
	}
	if err := limit("dataplane", req.GetDataplane()); err != nil {
		return nil, err
	}
	spec, err := s.mesh(ctx, g.ID.Mesh)
	if err != nil {
		return nil, err
	}
	dp, err := s.decode(req.GetDataplane())
	if err != nil {
		return nil, err
	}
	if err := denied(g.Allows(dp)); err != nil {
		return nil, err
	}
	// Keys and names are looked at before anything is stored.
	pub, err := ca.ParseCSR(req.GetCsr())
	if err != nil {
		return nil, err
	}
	var agentPub crypto.PublicKey
	if len(req.GetAgentCsr()) > 0 {
		if agentPub, err = ca.ParseCSR(req.GetAgentCsr()); err != nil {
			return nil, fmt.Errorf("agent_csr: %w", err)
		}
	}
	if err := ca.Check(g.ID.Mesh, spec, identities(dp)); err != nil {
		return nil, err
	}
	stored, err := s.put(ctx, g, dp)
	if err != nil {
		return nil, err
	}
	resp := &hostv1.RegisterResponse{Version: int64(stored.Meta.Version)}
	if err := s.certify(ctx, resp, spec, stored, pub); err != nil {
		return nil, err
	}
	if agentPub != nil {
		if resp.AgentCertificate, err = s.Own.SignAgent(agentPub, g.URI(), s.Auth.now()); err != nil {
			return nil, err
		}
	}
	s.audit(ctx, "host registered", g, "version", stored.Meta.Version, "workload_expires", resp.GetExpires().AsTime(), "agent_renewed", agentPub != nil)
	return resp, nil
}

// retries is how often a write is tried again that somebody else's overtook.
const retries = 5

// put stores dp in place of what is there, if the grant covers that as well:
// else a host could take over another's dataplane of the same name.
func (s *Service) put(ctx context.Context, g Grant, dp mesh.Resource) (mesh.Resource, error) {
	dp = held(dp, g, callerOf(ctx))
	for try := 0; ; try++ {
		existing, err := s.Auth.Store.Get(ctx, dp.Key())
		switch {
		case err == nil:
			if v := g.Allows(existing); len(v) > 0 {
				return dp, fmt.Errorf("%w: there is another dataplane of this name, which this host may not replace: %s", ErrDenied, v.Error())
			}
			if err := s.Auth.mayHold(existing, g, callerOf(ctx)); err != nil {
				return dp, err
			}
			dp.Meta.Version = existing.Meta.Version
			keepProbes(dp, existing)
		case errors.Is(err, store.ErrNotFound):
			dp.Meta.Version = 0
		default:
			return dp, fmt.Errorf("register dataplane %s: %w", quote(g.ID), err)
		}
		stored, err := s.Put(ctx, dp)
		if err == nil {
			return stored, nil
		}
		if !errors.Is(err, store.ErrConflict) || try == retries {
			return dp, fmt.Errorf("register dataplane %s: %w", quote(g.ID), err)
		}
	}
}

// keepProbes leaves in dp, which is the caller's to change, the probes of
// inbounds that somebody wrote into the stored one: a host does not send any.
func keepProbes(dp, stored mesh.Resource) {
	to, ok := dp.Spec.(*mesh.Dataplane)
	from, was := stored.Spec.(*mesh.Dataplane)
	if !ok || !was {
		return
	}
	for i := range to.Networking.Inbound {
		in := &to.Networking.Inbound[i]
		for _, before := range from.Networking.Inbound {
			if in.ServiceProbe == nil && before.Port == in.Port {
				in.ServiceProbe = before.ServiceProbe
			}
		}
	}
}

// certify signs for the Dataplane as it was stored: tags may have been added.
func (s *Service) certify(ctx context.Context, resp *hostv1.RegisterResponse, spec *mesh.MeshSpec, dp mesh.Resource, pub crypto.PublicKey) error {
	backend := spec.Backend()
	if backend == nil {
		return nil // no mTLS, no certificate
	}
	issued, err := s.Meshes.Sign(ctx, dp.Meta.Mesh, spec, identities(dp), pub, backend.CertLifetime())
	if err != nil {
		return err
	}
	resp.Certificate, resp.Roots, resp.Expires = issued.Certificate, issued.Roots, timestamppb.New(issued.Expires)
	resp.FailClosed = backend.FailsClosed()
	if s.Certified != nil {
		m := mesh.DataplaneMTLS{Expires: issued.Expires.UTC(), Regenerated: time.Now().UTC(), IssuedBackend: backend.Name}
		for _, b := range spec.MTLS.Backends {
			m.SupportedBackends = append(m.SupportedBackends, b.Name)
		}
		s.Certified(proxy.ID{Mesh: dp.Meta.Mesh, Name: dp.Meta.Name}, m, dp.Meta.Created)
	}
	return nil
}

// Sight implements hostv1.HostServer.
func (s *Service) Sight(ctx context.Context, _ *hostv1.SightRequest) (*hostv1.SightResponse, error) {
	return &hostv1.SightResponse{Sees: s.Sees(ctx)}, nil
}

// Leave implements hostv1.HostServer.
func (s *Service) Leave(ctx context.Context, _ *hostv1.LeaveRequest) (*hostv1.LeaveResponse, error) {
	return &hostv1.LeaveResponse{}, s.finish("leave", s.leave(ctx))
}

func (s *Service) leave(ctx context.Context) error {
	g, err := s.Auth.Agent(ctx)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		existing, err := s.Auth.Store.Get(ctx, dataplaneKey(g.ID))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if v := g.Allows(existing); len(v) > 0 {
			return fmt.Errorf("%w: the dataplane of this name is not this host's: %s", ErrDenied, v.Error())
		}
		if err := holds(existing, g, callerOf(ctx)); err != nil {
			return err
		}
		err = s.Delete(ctx, existing.Key(), existing.Meta.Version)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			break
		}
		if !errors.Is(err, store.ErrConflict) || try == retries {
			return fmt.Errorf("delete dataplane %s: %w", quote(g.ID), err)
		}
	}
	s.audit(ctx, "host left", g)
	return nil
}

func (s *Service) mesh(ctx context.Context, name string) (*mesh.MeshSpec, error) {
	r, err := s.Auth.Store.Get(ctx, mesh.Key{Kind: mesh.MeshKind.Name, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("mesh %.128q is not there (any more): make it again, or %s: %w", name, rejoin, store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	spec, ok := r.Spec.(*mesh.MeshSpec)
	if !ok {
		return nil, fmt.Errorf("%s: is no mesh", r.Key())
	}
	return spec, nil
}

// decode reads a Dataplane. Whatever the decoder says is about the document.
func (s *Service) decode(doc []byte) (mesh.Resource, error) {
	dp, err := s.Decode(mesh.DataplaneKind, doc)
	if err != nil && !errors.Is(err, mesh.ErrInvalid) {
		err = fmt.Errorf("dataplane: %w: %w", mesh.ErrInvalid, err)
	}
	return dp, err
}

func limit(what string, data []byte) error {
	if len(data) > maxDocument {
		return fmt.Errorf("%s has %d bytes, allowed are %d: %w", what, len(data), maxDocument, ErrTooLarge)
	}
	return nil
}

func violation(field, reason string) error {
	var v mesh.Violations
	v.Add(field, "%s", reason)
	return v
}

// audit writes who did what from where. Ids of tokens are no secrets.
func (s *Service) audit(ctx context.Context, fact string, g Grant, more ...any) {
	if e := audit.Of(ctx); e != nil {
		e.User = "dataplane " + g.ID.String() + " by token " + g.Token
	}
	s.log().Info(fact, append([]any{"mesh", g.ID.Mesh, "dataplane", g.ID.Name, "token_id", g.Token, "from", from(ctx)}, more...)...)
}

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// finish turns a failure into a status; what the caller is not told is logged.
func (s *Service) finish(what string, err error) error {
	if err == nil {
		return nil
	}
	s.log().Warn("host refused", "call", what, "error", err)
	return Status(err)
}
