package host_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

var web1 = proxy.ID{Mesh: "default", Name: "web-1"}

func TestHostsLife(t *testing.T) {
	w := newWorld(t)
	raw := w.token(t, token.Claims{Name: "web-1", Tags: service("web", "web-admin")})
	agent := w.agent(t, raw, doc("default", "web-1", "web"))
	if w.dataplane(t, web1) != nil {
		t.Error("Join stored something")
	}
	g, err := host.ParseGrant(agent.Leaf.URIs[0].String())
	must(t, err)
	if g.ID != web1 || !slices.Equal(g.Tags["kuma.io/service"], []string{"web", "web-admin"}) {
		t.Errorf("grant %+v", g)
	}

	resp, err := w.register(t, agent, doc("default", "web-1", "web"))
	must(t, err)
	stored := w.dataplane(t, web1)
	if stored == nil || int64(stored.Meta.Version) != resp.GetVersion() {
		t.Fatalf("stored %v, answer says version %d", stored, resp.GetVersion())
	}
	block, _ := pem.Decode(resp.GetCertificate())
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	var names []string
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	if want := []string{"spiffe://default/web", "kuma://kuma.io/service/web", "kuma://team/a"}; !slices.Equal(names, want) {
		t.Errorf("workload is named %q, want %q", names, want)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(resp.GetRoots())
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Error(err)
	}
	if !resp.GetExpires().AsTime().Equal(leaf.NotAfter) || leaf.NotAfter.Sub(w.clock()) > 168*time.Hour {
		t.Errorf("expires %s, answer says %s", leaf.NotAfter, resp.GetExpires().AsTime())
	}
	if len(resp.GetAgentCertificate()) != 0 {
		t.Error("an agent certificate came that nobody asked for")
	}

	// Again, with more services and the agent's certificate renewed.
	_, csr := request(t)
	_, agentCSR := request(t)
	client := hostv1.NewHostClient(w.client(t, agent))
	resp, err = client.Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web", "web-admin"), Csr: csr, AgentCsr: agentCSR})
	must(t, err)
	block, _ = pem.Decode(resp.GetAgentCertificate())
	renewed, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if renewed.URIs[0].String() != agent.Leaf.URIs[0].String() {
		t.Errorf("the grant changed from %s to %s", agent.Leaf.URIs[0], renewed.URIs[0])
	}

	for range 2 {
		_, err = client.Leave(t.Context(), &hostv1.LeaveRequest{})
		must(t, err)
	}
	if w.dataplane(t, web1) != nil {
		t.Error("the dataplane is still there after Leave")
	}

	log := w.log.String()
	for _, want := range []string{"host joined", "host registered", "host left", "dataplane=web-1", "from=127.0.0.1", "token_id="} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	for _, secret := range append(strings.Split(raw, "."), "PRIVATE", "BEGIN") {
		if strings.Contains(log, secret) {
			t.Errorf("log tells %q", secret)
		}
	}
}

func TestPlainMeshHasNoCertificate(t *testing.T) {
	w := newWorld(t)
	agent := w.agent(t, w.token(t, token.Claims{Mesh: "plain"}), doc("plain", "x", "web"))
	resp, err := w.register(t, agent, doc("plain", "x", "web"))
	must(t, err)
	if len(resp.GetCertificate())+len(resp.GetRoots()) > 0 || resp.GetExpires() != nil {
		t.Error("a certificate came from a mesh without mTLS")
	}
}

func TestJoinRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.token(t, token.Claims{Name: "web-1", Tags: service("web")})
	plain := w.token(t, token.Claims{Mesh: "plain"})
	open := w.token(t, token.Claims{})
	expired, err := w.tokens.Issue(t.Context(), token.Claims{Mesh: "default"}, time.Nanosecond)
	must(t, err)
	_, csr := request(t)
	tests := []struct {
		name   string
		tokens []string
		doc    []byte
		csr    []byte
		code   codes.Code
		words  []string
	}{
		{"no token", nil, doc("default", "web-1", "web"), csr, codes.Unauthenticated, []string{"metadata authorization"}},
		{"two tokens", []string{good, open}, doc("default", "web-1", "web"), csr, codes.Unauthenticated, []string{"2 values"}},
		{"no JWT", []string{"x"}, doc("default", "web-1", "web"), csr, codes.Unauthenticated, []string{"no JWT"}},
		{"expired", []string{expired}, doc("default", "web-1", "web"), csr, codes.Unauthenticated, []string{"expired on"}},
		{"other mesh's token", []string{plain}, doc("default", "web-1", "web"), csr, codes.Unauthenticated, []string{`of mesh "plain", asked for was mesh "default"`}},
		{"unknown mesh", []string{open}, doc("nowhere", "web-1", "web"), csr, codes.Unauthenticated, []string{"nowhere"}},
		{"other name and service: all is told", []string{good}, doc("default", "db-1", "db"), csr, codes.PermissionDenied, []string{`name: is "db-1", the token allows "web-1" only`, `is "db", allowed is "web"`}},
		{"no mesh", []string{good}, []byte(`{"name":"web-1"}`), csr, codes.InvalidArgument, []string{"mesh: must be set"}},
		{"no JSON", []string{good}, []byte("name: web-1"), csr, codes.InvalidArgument, nil},
		{"unknown field", []string{open}, []byte(`{"type":"Dataplane","mesh":"default","name":"web-1","networking":{"adress":"1.2.3.4"}}`), csr, codes.InvalidArgument, []string{"adress"}},
		{"another kind", []string{open}, []byte(`{"type":"Secret","mesh":"default","name":"web-1","data":"eA=="}`), csr, codes.InvalidArgument, nil},
		{"mesh twice", []string{open}, []byte(`{"type":"Dataplane","mesh":"plain","mesh":"default","name":"web-1","networking":{"address":"192.0.2.1","inbound":[{"port":1,"tags":{"kuma.io/service":"web"}}]}}`), csr, codes.InvalidArgument, nil},
		{"huge document", []string{open}, append(doc("default", "web-1", "web"), make([]byte, 300<<10)...), csr, codes.ResourceExhausted, []string{"allowed are"}},
		{"no request", []string{open}, doc("default", "web-1", "web"), nil, codes.InvalidArgument, []string{"certificate request"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			for _, raw := range tt.tokens {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", raw)
			}
			_, err := hostv1.NewHostClient(w.client(t, nil)).Join(ctx, &hostv1.JoinRequest{Dataplane: tt.doc, Csr: tt.csr})
			wantCode(t, err, tt.code, tt.words...)
		})
	}
}

// Nobody gets what is another's, and nothing changes.
func TestRegisterRefuses(t *testing.T) {
	w := newWorld(t)
	agent := w.agent(t, w.token(t, token.Claims{Name: "web-1", Tags: service("web")}), doc("default", "web-1", "web"))
	tests := []struct {
		name  string
		doc   []byte
		code  codes.Code
		words []string
	}{
		{"another's name", doc("default", "db-1", "web"), codes.PermissionDenied, []string{`name: is "db-1", this host joined as "web-1"`}},
		{"another's service", doc("default", "web-1", "web", "db"), codes.PermissionDenied, []string{`networking.inbound[1].tags["kuma.io/service"]: is "db", allowed is "web"`}},
		{"another mesh", doc("plain", "web-1", "web"), codes.PermissionDenied, []string{`mesh: is "plain"`}},
		{"all at once", doc("plain", "db-1", "db"), codes.PermissionDenied, []string{"mesh:", "name:", "networking.inbound[0]"}},
		{"no document", nil, codes.InvalidArgument, nil},
		{"huge document", make([]byte, 300<<10), codes.ResourceExhausted, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.register(t, agent, tt.doc)
			wantCode(t, err, tt.code, tt.words...)
		})
	}
	t.Run("bad requests store nothing", func(t *testing.T) {
		_, csr := request(t)
		client := hostv1.NewHostClient(w.client(t, agent))
		_, err := client.Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web"), Csr: []byte("x")})
		wantCode(t, err, codes.InvalidArgument, "certificate request")
		_, err = client.Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web"), Csr: csr, AgentCsr: []byte("x")})
		wantCode(t, err, codes.InvalidArgument, "agent_csr")
		if w.dataplane(t, web1) != nil {
			t.Error("a refused call stored the dataplane")
		}
	})
	t.Run("a tag that cannot be an identity", func(t *testing.T) {
		odd := w.agent(t, w.token(t, token.Claims{Name: "odd"}), doc("default", "odd", "web"))
		d := strings.ReplaceAll(string(doc("default", "odd", "web")), `"team"`, `"te:am"`)
		_, err := w.register(t, odd, []byte(d))
		wantCode(t, err, codes.InvalidArgument, "te:am")
		if w.dataplane(t, proxy.ID{Mesh: "default", Name: "odd"}) != nil {
			t.Error("a refused call stored the dataplane")
		}
	})
	t.Run("token instead of certificate", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", w.token(t, token.Claims{}))
		client := hostv1.NewHostClient(w.client(t, nil))
		_, err := client.Register(ctx, &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web")})
		wantCode(t, err, codes.Unauthenticated, "needs the agent's certificate", "weft-agent join")
		_, err = client.Leave(ctx, &hostv1.LeaveRequest{})
		wantCode(t, err, codes.Unauthenticated, "needs the agent's certificate")
	})
}

// A known fault of others: the dataplane that is there has
// to be allowed as well.
func TestRegisterDoesNotTakeOverAnothers(t *testing.T) {
	w := newWorld(t)
	db := w.agent(t, w.token(t, token.Claims{Tags: service("db")}), doc("default", "box", "db"))
	_, err := w.register(t, db, doc("default", "box", "db"))
	must(t, err)
	w.pass(2 * time.Minute) // nobody has been there
	web := w.agent(t, w.token(t, token.Claims{Tags: service("web")}), doc("default", "box", "web"))
	_, err = w.register(t, web, doc("default", "box", "web"))
	wantCode(t, err, codes.PermissionDenied, "another dataplane of this name", `is "db", allowed is "web"`)
	_, err = hostv1.NewHostClient(w.client(t, web)).Leave(t.Context(), &hostv1.LeaveRequest{})
	wantCode(t, err, codes.PermissionDenied, "is not this host's")
	wantCode(t, w.stream(t, w.client(t, web), "", "default.box"), codes.PermissionDenied, `is "db", allowed is "web"`)
	box := w.dataplane(t, proxy.ID{Mesh: "default", Name: "box"})
	if box == nil || box.Spec.(*mesh.Dataplane).Networking.Inbound[0].Tags.Service() != "db" {
		t.Errorf("the other's dataplane changed: %+v", box)
	}
}

func TestRegisterRetriesConflicts(t *testing.T) {
	w := newWorld(t)
	agent := w.agent(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	left := 3
	w.service.Put = func(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
		if left > 0 { // somebody else is faster
			left--
			other := r
			other.Meta.Labels = map[string]string{"n": fmt.Sprint(left)}
			if _, err := w.store.Put(ctx, other); err != nil {
				return r, err
			}
		}
		return w.store.Put(ctx, r)
	}
	_, err := w.register(t, agent, doc("default", "web-1", "web"))
	must(t, err)
	if got := w.dataplane(t, web1); got == nil || got.Meta.Labels["n"] != "" {
		t.Errorf("stored %+v", got)
	}
	w.service.Put = func(_ context.Context, r mesh.Resource) (mesh.Resource, error) {
		return r, fmt.Errorf("put %s: %w", r.Key(), store.ErrConflict)
	}
	_, err = w.register(t, agent, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Aborted)
}

func TestErrorsOfTheStoreStayInTheLog(t *testing.T) {
	w := newWorld(t)
	agent := w.agent(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	w.service.Put = func(_ context.Context, r mesh.Resource) (mesh.Resource, error) {
		return r, errors.New("disk /secret/path is full")
	}
	_, err := w.register(t, agent, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Internal, "its log says why")
	if strings.Contains(status.Convert(err).Message(), "secret") || !strings.Contains(w.log.String(), "disk /secret/path is full") {
		t.Errorf("answer %q, log %q", err, w.log.String())
	}
}

func TestMeshThatIsGone(t *testing.T) {
	w := newWorld(t)
	raw := w.token(t, token.Claims{Mesh: "plain"})
	agent := w.agent(t, raw, doc("plain", "x", "web"))
	must(t, w.store.Delete(t.Context(), mesh.Key{Kind: "Mesh", Name: "plain"}, 0))
	_, err := w.register(t, agent, doc("plain", "x", "web"))
	wantCode(t, err, codes.NotFound, `mesh "plain" is not there`)
	_, err = w.join(t, raw, doc("plain", "x", "web"))
	wantCode(t, err, codes.NotFound, `mesh "plain" is not there`)
}

func TestRevokedTokenEndsItsCertificate(t *testing.T) {
	w := newWorld(t)
	raw := w.token(t, token.Claims{})
	agent := w.agent(t, raw, doc("default", "web-1", "web"))
	_, err := w.register(t, agent, doc("default", "web-1", "web"))
	must(t, err)
	conn := w.client(t, agent)
	must(t, w.stream(t, conn, "", "default.web-1"))
	c, err := w.tokens.Verify(t.Context(), raw, "default")
	must(t, err)
	w.put(t, mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: token.RevocationsKey("default").Name}, Spec: &mesh.Secret{Data: []byte(c.ID)}})
	wantCode(t, w.stream(t, conn, "", "default.web-1"), codes.Unauthenticated, "was revoked", "weft-agent join")
	_, err = w.register(t, agent, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Unauthenticated, "was revoked")
}

func TestExpiredCertificate(t *testing.T) {
	w := newWorld(t)
	agent := w.agent(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	_, err := w.register(t, agent, doc("default", "web-1", "web"))
	must(t, err)
	open := w.client(t, agent)
	must(t, w.stream(t, open, "", "default.web-1"))
	w.pass(31 * 24 * time.Hour)
	wantCode(t, w.stream(t, open, "", "default.web-1"), codes.Unauthenticated, "expired on", "weft-agent join") // on the connection that is there
	_, err = w.register(t, agent, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Unavailable) // on a new one, by TLS
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	var agent *tls.Certificate
	for _, d := range []struct{ name, service string }{{"db-1", "db"}, {"web-1", "web"}} {
		agent = w.agent(t, w.token(t, token.Claims{Name: d.name}), doc("default", d.name, d.service))
		_, err := w.register(t, agent, doc("default", d.name, d.service))
		must(t, err)
	}
	late := w.agent(t, w.token(t, token.Claims{Name: "late"}), doc("default", "late", "web"))
	only := w.token(t, token.Claims{Name: "web-1"})
	tests := []struct {
		name  string
		cert  *tls.Certificate
		raw   string
		id    string
		code  codes.Code
		words string
	}{
		{"certificate", agent, "", "default.web-1", codes.OK, ""},
		{"certificate of another", agent, "", "default.db-1", codes.PermissionDenied, `joined as "default.web-1"`},
		{"certificate with a better token", agent, w.token(t, token.Claims{}), "default.db-1", codes.PermissionDenied, "joined as"},
		{"certificate, not registered", late, "", "default.late", codes.NotFound, "is not registered: start its agent"},
		{"token", nil, only, "default.web-1", codes.OK, ""},
		{"token of another", nil, only, "default.db-1", codes.PermissionDenied, `only`},
		{"token of another, absent", nil, only, "default.nobody", codes.PermissionDenied, `only`},
		{"token, not registered", nil, w.token(t, token.Claims{}), "default.nobody", codes.NotFound, "is not registered"},
		{"token of other tags", nil, w.token(t, token.Claims{Tags: service("web")}), "default.db-1", codes.PermissionDenied, `is "db"`},
		{"token of the mesh", nil, w.token(t, token.Claims{}), "default.db-1", codes.OK, ""},
		{"token of another mesh", nil, w.token(t, token.Claims{Mesh: "plain"}), "default.db-1", codes.Unauthenticated, "of mesh"},
		{"nothing", nil, "", "default.web-1", codes.Unauthenticated, "needs a dataplane token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantCode(t, w.stream(t, w.client(t, tt.cert), tt.raw, tt.id), tt.code, tt.words)
		})
	}
	t.Run("open for load tests", func(t *testing.T) {
		w.auth.Open = true
		must(t, w.stream(t, w.client(t, nil), "", "default.anybody"))
		_, err := hostv1.NewHostClient(w.client(t, nil)).Leave(t.Context(), &hostv1.LeaveRequest{})
		wantCode(t, err, codes.Unauthenticated)
		wantCode(t, w.stream(t, w.client(t, agent), "", "default.db-1"), codes.PermissionDenied)
	})
}
