package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

var web1 = proxy.ID{Mesh: "default", Name: "web-1"}

func TestHostsLife(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{Name: "web-1"})
	if i.ID() != web1 {
		t.Errorf("joined as %s", i.ID())
	}
	none, changed := i.Current()
	if none.Version != "" {
		t.Errorf("secrets before Register: %v", none)
	}
	must(t, register(t, i, doc("default", "web-1", "web")))
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the certificate")
	}
	first, _ := i.Current()
	leaf, err := parseCert(first.Certificate)
	must(t, err)
	if got := uris(leaf); !slices.Equal(got, []string{"spiffe://default/web", "kuma://kuma.io/service/web"}) {
		t.Errorf("workload is named %q", got)
	}

	// A restart with no control plane brings the same back.
	again := w.open(t, i.files.dir)
	if got, _ := again.Current(); got.Version == "" || got.Version != first.Version || !bytes.Equal(got.Key, first.Key) || !bytes.Equal(got.Roots, first.Roots) {
		t.Errorf("after a restart %v, before %v", got, first)
	}

	// Registering again makes another key.
	must(t, register(t, again, doc("default", "web-1", "web")))
	second, _ := again.Current()
	if second.Version == first.Version || bytes.Equal(second.Key, first.Key) {
		t.Error("the key is still the old one")
	}

	entries, err := os.ReadDir(i.files.dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if _, err := keyfile.Read(filepath.Join(i.files.dir, e.Name())); err != nil {
			t.Errorf("not this host's alone: %v", err)
		}
	}
	if want := []string{"agent.pem", "workload.pem", "workload.pem.before"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}

	conn, err := again.Dial(t.Context())
	must(t, err)
	defer conn.Close()
	must(t, again.Leave(t.Context(), conn))
	if _, err := w.store.Get(t.Context(), mesh.Key{Kind: "Dataplane", Mesh: "default", Name: "web-1"}); err == nil {
		t.Error("the dataplane is there after Leave")
	}
	for range 2 {
		must(t, Remove(i.files.dir))
	}
	if entries, _ := os.ReadDir(i.files.dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	if _, err := Open(i.files.dir, nil); !errors.Is(err, ErrNotJoined) {
		t.Errorf("open after Remove: %v", err)
	}
}

// No key and no token is in any log, at any level, on either side.
func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	o := w.options(t, token.Claims{})
	join(t, o)
	i := w.open(t, o.Dir)
	must(t, register(t, i, doc("default", "web-1", "web")))
	secrets, _ := i.Current()
	w.logger().Debug("all of it", "identity", i.Status(), "secrets", secrets, "pointer", &secrets,
		"v", fmt.Sprintf("%v %+v %#v %s", secrets, secrets, secrets, secrets))
	if err := register(t, i, doc("default", "other", "web")); err == nil {
		t.Error("another's name was registered")
	}

	log := w.log.String()
	if !strings.Contains(log, "host joined") || !strings.Contains(log, secrets.Version) {
		t.Fatalf("the log is not the right one:\n%s", log)
	}
	for name, key := range map[string]pair{"agent": i.agent, "workload": i.workload} {
		raw, err := key.key.Bytes()
		must(t, err)
		for _, form := range []string{
			strings.Split(string(key.keyPEM), "\n")[1], string(raw), fmt.Sprintf("%x", raw), fmt.Sprintf("%d", raw)[1:40],
			base64.StdEncoding.EncodeToString(raw), fmt.Sprint(key.keyPEM)[1:80], key.key.D.String(), //nolint:staticcheck // what a careless %v prints
		} {
			if strings.Contains(log, form) {
				t.Errorf("the log holds the %s key as %q", name, form)
			}
		}
	}
	for _, s := range append(strings.Split(o.Token, "."), "PRIVATE KEY", "-----BEGIN") {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q", s)
		}
	}
}

func TestMeshWithoutMTLS(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{Mesh: "plain"})
	must(t, register(t, i, doc("plain", "web-1", "web")))
	if s, _ := i.Current(); s.Version != "" || i.Status().Workload.URIs != nil {
		t.Errorf("secrets %v", s)
	}
	if at, ok := i.due(); !ok || !at.After(w.clock().Add(10*24*time.Hour)) {
		t.Errorf("next due %s", at)
	}
}

// answers is a control plane that says what it is told to.
type answers struct {
	grpc.ClientConnInterface
	register func(*hostv1.RegisterRequest, *hostv1.RegisterResponse)
}

func (a answers) Invoke(_ context.Context, _ string, req, resp any, _ ...grpc.CallOption) error {
	a.register(req.(*hostv1.RegisterRequest), resp.(*hostv1.RegisterResponse))
	return nil
}

// What is in force stays until all of an answer has been verified.
func TestBadAnswersChangeNothing(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	before, changed := i.Current()
	w.pass(17 * 24 * time.Hour) // the agent's certificate is due as well
	sign := func(t *testing.T) (*hostv1.RegisterResponse, error) {
		conn, err := i.Dial(t.Context())
		must(t, err)
		defer conn.Close()
		_, csr, err := newKey() // not the key of the request
		must(t, err)
		_, agentCSR, err := newKey()
		must(t, err)
		return hostv1.NewHostClient(conn).Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web"), Csr: csr, AgentCsr: agentCSR})
	}
	other, err := sign(t)
	must(t, err)
	for name, answer := range map[string]func(*hostv1.RegisterRequest, *hostv1.RegisterResponse){
		"another key's": func(_ *hostv1.RegisterRequest, r *hostv1.RegisterResponse) {
			r.Certificate, r.Roots = other.Certificate, other.Roots
		},
		"noise":      func(_ *hostv1.RegisterRequest, r *hostv1.RegisterResponse) { r.Certificate = []byte("x") },
		"no agent's": func(*hostv1.RegisterRequest, *hostv1.RegisterResponse) {},
		"another's agent's": func(_ *hostv1.RegisterRequest, r *hostv1.RegisterResponse) {
			r.AgentCertificate = other.AgentCertificate
		},
	} {
		if err := i.Register(t.Context(), answers{register: answer}, doc("default", "web-1", "web")); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if after, _ := i.Current(); after.Version != before.Version {
		t.Error("the certificate changed")
	}
	select {
	case <-changed:
		t.Error("a change was told")
	default:
	}
	if s := i.Status(); s.Registered != true || s.LastError == "" {
		t.Errorf("status %+v", s)
	}
}

func TestExpiredAgent(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	w.pass(31 * 24 * time.Hour)
	again := w.open(t, i.files.dir) // opens, so that status can tell
	_, err := again.Dial(t.Context())
	if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "weft-agent join") {
		t.Errorf("dial: %v", err)
	}
	if s := again.Status(); !s.Agent.Expired || !s.Workload.Expired {
		t.Errorf("status %+v", s)
	}
	if s, _ := again.Current(); s.Version == "" {
		t.Error("the workload's certificate was dropped: peers judge it, not we")
	}
	o := w.options(t, token.Claims{}) // the remedy works on the same folder
	o.Dir = i.files.dir
	join(t, o)
	must(t, register(t, w.open(t, o.Dir), doc("default", "web-1", "web")))
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	s := i.Status()
	if s.ID != web1 || !s.Registered || s.LastError != "" || s.Authority != w.own.Fingerprint() || s.Agent.Issuer != s.Authority {
		t.Errorf("status %+v", s)
	}
	if len(s.Workload.Issuer) != 64 || s.Workload.Issuer == s.Authority || s.Workload.URIs[0] != "spiffe://default/web" {
		t.Errorf("workload %+v", s.Workload)
	}
	// Seven days, renewed at half, a tenth of that half sooner or later.
	if days := s.RidesOut.Hours() / 24; days < 3.1 || days > 3.9 {
		t.Errorf("rides out %.2f days", days)
	}
}

func TestDialGoesOnToAnotherAddress(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	i.Addresses = []string{"127.0.0.1:1", w.address, "127.0.0.1:2"} // 1 and 2: nobody listens
	for range 3 {
		must(t, register(t, i, doc("default", "web-1", "web")))
	}
}

func TestDialVerifiesTheControlPlane(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	t.Run("another authority", func(t *testing.T) {
		i.Addresses = []string{newWorld(t).address}
		if err := register(t, i, doc("default", "web-1", "web")); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another name", func(t *testing.T) {
		i.Addresses = []string{strings.Replace(w.address, "127.0.0.1", "127.0.0.2", 1)}
		if err := register(t, i, doc("default", "web-1", "web")); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "127.0.0.2") {
			t.Errorf("error %v", err)
		}
	})
}
