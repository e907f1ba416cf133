package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/token"
)

// A thief answers as a control plane would and keeps what it is shown.
type thief struct {
	mu    sync.Mutex
	shown []string
}

func (th *thief) serve(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	cfg.NextProtos = []string{"h2"}
	return serve(t, grpc.NewServer(grpc.Creds(credentials.NewTLS(cfg)), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		th.mu.Lock()
		defer th.mu.Unlock()
		th.shown = append(th.shown, md.Get("authorization")...)
		return status.Error(codes.PermissionDenied, "thanks")
	})))
}

func (th *thief) saw(text string) bool {
	th.mu.Lock()
	defer th.mu.Unlock()
	return strings.Contains(strings.Join(th.shown, "\n"), text)
}

// An impostor is refused before the token is sent.
func TestImpostorNeverSeesTheToken(t *testing.T) {
	w := newWorld(t)
	past := func() time.Time { return time.Now().AddDate(-1, 0, 0) }
	realCA := func(t *testing.T) []byte {
		block, _ := pem.Decode(w.own.PEM())
		return block.Bytes
	}
	own := func(o *ca.Own) *tls.Config { return &tls.Config{GetCertificate: o.GetCertificate} }
	tests := []struct {
		name  string
		cfg   func(t *testing.T) *tls.Config
		dial  string // instead of 127.0.0.1
		words string
	}{
		{"another authority", func(t *testing.T) *tls.Config { return own(authority(t, time.Now)) }, "", "its authority's hash is not the one"},
		{"the real authority's certificate shown beside its own", func(t *testing.T) *tls.Config {
			c, err := authority(t, time.Now).GetCertificate(nil)
			must(t, err)
			stolen := *c
			stolen.Certificate = [][]byte{c.Certificate[0], c.Certificate[1], realCA(t)}
			return &tls.Config{Certificates: []tls.Certificate{stolen}}
		}, "", "unknown authority"},
		{"an agent's certificate", func(t *testing.T) *tls.Config {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			must(t, err)
			data, err := w.own.SignAgent(key.Public(), "weft://default/dataplane/evil", time.Now())
			must(t, err)
			block, _ := pem.Decode(data)
			return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes, realCA(t)}, PrivateKey: key}}}
		}, "", "the token was not sent"},
		{"no authority in the chain", func(t *testing.T) *tls.Config {
			c, err := authority(t, time.Now).GetCertificate(nil)
			must(t, err)
			alone := *c
			alone.Certificate = c.Certificate[:1]
			return &tls.Config{Certificates: []tls.Certificate{alone}}
		}, "", "its authority's hash is not the one"},
		{"another name", func(t *testing.T) *tls.Config { return own(w.own) }, "127.0.0.2", `is not for "127.0.0.2"; let the control plane know that name by --advertise`},
		{"old TLS", func(t *testing.T) *tls.Config {
			c := own(w.own)
			c.MaxVersion = tls.VersionTLS12
			return c
		}, "", "protocol version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			th := new(thief)
			o := w.options(t, token.Claims{})
			o.Addresses = []string{th.serve(t, tt.cfg(t))}
			if tt.dial != "" {
				o.Addresses[0] = strings.Replace(o.Addresses[0], "127.0.0.1", tt.dial, 1)
			}
			refused(t, th, o, tt.words)
		})
	}
	t.Run("expired certificate", func(t *testing.T) {
		th := new(thief)
		old := authority(t, past)
		o := w.options(t, token.Claims{})
		o.Addresses, o.Authority = []string{th.serve(t, own(old))}, old.Fingerprint()
		refused(t, th, o, "expired")
	})
	t.Run("plain HTTP", func(t *testing.T) {
		th := new(thief)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		read := make(chan struct{})
		go func() {
			defer close(read)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			all, _ := io.ReadAll(conn)
			th.mu.Lock()
			th.shown = append(th.shown, string(all))
			th.mu.Unlock()
		}()
		o := w.options(t, token.Claims{})
		o.Addresses = []string{l.Addr().String()}
		_, err = Join(t.Context(), o)
		l.Close()
		<-read
		if err == nil || th.saw(o.Token) || len(th.shown) == 0 {
			t.Errorf("error %v, the server saw %q", err, th.shown)
		}
	})
	t.Run("and the thief can see one that is sent", func(t *testing.T) {
		th := new(thief)
		o := w.options(t, token.Claims{})
		o.Addresses = []string{th.serve(t, own(w.own))}
		if _, err := Join(t.Context(), o); status.Code(err) != codes.PermissionDenied {
			t.Errorf("error %v", err)
		}
		if !th.saw(o.Token) {
			t.Error("the test's thief is blind")
		}
	})
}

func refused(t *testing.T, th *thief, o JoinOptions, words string) {
	t.Helper()
	_, err := Join(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v, want %q", err, words)
	}
	if th.saw(o.Token) || len(th.shown) > 0 {
		t.Errorf("the impostor was shown %q", th.shown)
	}
	if err != nil && strings.Contains(err.Error(), o.Token) {
		t.Error("the error holds the token")
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "agent.pem")); !errors.Is(err, os.ErrNotExist) {
		t.Error("an identity was left")
	}
}

func TestImpostorIsTold(t *testing.T) {
	w := newWorld(t)
	o := w.options(t, token.Claims{})
	o.Authority = authority(t, time.Now).Fingerprint()
	if _, err := Join(t.Context(), o); !errors.Is(err, ErrImpostor) {
		t.Errorf("error %v, want ErrImpostor", err)
	}
}

func TestJoinTriesAddressesInTurn(t *testing.T) {
	w := newWorld(t)
	th := new(thief)
	stranger := th.serve(t, &tls.Config{GetCertificate: authority(t, time.Now).GetCertificate})
	o := w.options(t, token.Claims{})
	o.Addresses = []string{"127.0.0.1:1", stranger, w.address}
	join(t, o)

	o = w.options(t, token.Claims{})
	o.Addresses = []string{"127.0.0.1:1", stranger}
	_, err := Join(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), stranger) {
		t.Errorf("error %v names not both addresses", err)
	}
}

func TestRefusalIsFinal(t *testing.T) {
	w := newWorld(t)
	th := new(thief)
	next := th.serve(t, &tls.Config{GetCertificate: w.own.GetCertificate})
	o := w.options(t, token.Claims{Name: "db-1"})
	o.Addresses = []string{w.address, next}
	_, err := Join(t.Context(), o)
	if status.Code(errors.Unwrap(unjoin(err))) != codes.PermissionDenied || !strings.Contains(err.Error(), `the token allows "db-1" only`) {
		t.Errorf("error %v", err)
	}
	if len(th.shown) > 0 {
		t.Error("the next address was asked though the first refused")
	}
}

func unjoin(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
		return many.Unwrap()[0]
	}
	return err
}

func TestJoinChecksItsOptions(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*JoinOptions){
		"hash is no hash": func(o *JoinOptions) { o.Authority = "abc" },
		"no address":      func(o *JoinOptions) { o.Addresses = nil },
		"not host:port":   func(o *JoinOptions) { o.Addresses = []string{"localhost"} },
	} {
		o := w.options(t, token.Claims{})
		change(&o)
		if _, err := Join(t.Context(), o); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
}

// Joining again, as another dataplane too, leaves nothing of the first.
func TestJoinAgain(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	o := w.options(t, token.Claims{Mesh: "plain"})
	o.Dir = i.files.dir
	join(t, o)
	again := w.open(t, o.Dir)
	if s, _ := again.Current(); s.Version != "" || again.ID().Mesh != "plain" {
		t.Errorf("joined as %s with %v", again.ID(), s)
	}
}
