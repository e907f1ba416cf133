// Package rest serves the control plane's HTTP interface: resources by the
// table of kinds, and what people and tools ask beside them.
//
// Paths, documents and status codes are those of Kuma's interface. Unlike
// there nothing is open: whoever shows no credential gets nothing, and each
// route says which permission it needs.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/inspect"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// reader is what is read of the store.
type reader interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	List(ctx context.Context, q store.Query) (store.Page, error)
}

// writer is the one way to write.
type writer interface {
	Put(ctx context.Context, r mesh.Resource) (admission.Result, error)
	PutAt(ctx context.Context, r mesh.Resource) (admission.Result, error)
	Preview(ctx context.Context, r mesh.Resource) (admission.Result, error)
	DeleteAt(ctx context.Context, k mesh.Key, at mesh.Version) error
	PreviewDelete(ctx context.Context, k mesh.Key, at mesh.Version) (mesh.Resource, error)
}

// A Server is the HTTP interface. All fields are needed.
type Server struct {
	Store     reader
	Admission writer

	// Authenticate says who sends a request. FirstOf joins several.
	Authenticate Authenticator
	// Access are the lists of those who may do something in all meshes, beside
	// administrators. Roles are resources, and come from the store.
	Access map[Permission]Subjects

	// Info is what GET / tells. Product, Tagline and BasedOnKuma are filled in
	// here: clients look at them.
	Info api.Info
	// Config returns the effective configuration, secrets masked, as
	// something that encoding/json can write.
	Config func() any
	// Hosts tells how agents reach the control plane.
	Hosts func() (api.Hosts, error)
	// IssueDataplane makes a dataplane token. What is wrong with the request
	// comes back as mesh.Violations.
	IssueDataplane func(ctx context.Context, req api.DataplaneTokenRequest) (string, error)
	// IssueZone and IssueUser are the same for zones and users.
	IssueZone   func(ctx context.Context, req api.ZoneTokenRequest) (string, error)
	IssueUser   func(ctx context.Context, req api.UserTokenRequest) (string, error)
	Tokens      tokens
	Authorities authorities
	// Stage shows as YAML what a stage of the pipeline makes of a dataplane. It
	// fails with mesh.ErrInvalid for a stage that there is not.
	Stage func(ctx context.Context, mesh, name, stage string) ([]byte, error)
	// Insight tells how the proxy of a dataplane fares, and plans for it where
	// nobody has. KnownInsight plans nothing: it is for lists.
	Insight      func(ctx context.Context, mesh, name string) (api.DataplaneInsight, error)
	KnownInsight func(mesh, name string) api.DataplaneInsight
	// Ask asks the agent of a dataplane what Envoy says of itself, and returns
	// the answer compressed by gzip. It fails with ErrNoView, ErrBusy or the
	// context's error.
	Ask func(ctx context.Context, mesh, name string, q *hostv1.Question) ([]byte, error)
	// State returns what is seen of the store: of a write that was answered it
	// knows already.
	State func(ctx context.Context) (*snapshot.State, error)
	// Online tells whether the proxy of a dataplane is connected.
	Online inspect.Online
	// Zone is that of this control plane.
	Zone string
	// Origins are whose pages browsers let read the answers: the whole of an
	// Origin header has to match one. None: no others than ours.
	Origins []*regexp.Regexp
	// ReadOnly refuses every PUT and DELETE. Dry runs are none.
	ReadOnly bool
	// Stale tells since when what is read is what was known then, as the store
	// is away; zero, or nil: it is not.
	Stale func() time.Time
	// Replicas tells of all control planes on this store; nil: it is alone.
	Replicas func() any

	// Audit is told of every write; nil tells nobody.
	Audit *audit.Log
	Log   *slog.Logger
}

// Handler returns the interface, ready to be served. Header, read and write
// timeouts are up to the http.Server around it, whose ConnContext should be
// ours, see LocalSocket.
func (s *Server) Handler() http.Handler {
	h, err := s.mount(s.routes())
	if err != nil {
		panic(err) // the tables in this package contradict each other
	}
	return h
}
