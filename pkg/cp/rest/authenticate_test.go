package rest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestAdminToken(t *testing.T) {
	authenticate := AdminToken(sha256.Sum256([]byte("secret")))
	for _, test := range []struct {
		sent []string
		want error
	}{
		{nil, ErrNoCredential},
		{[]string{"Bearer secret"}, nil},
		{[]string{"bearer  secret "}, nil},
		{[]string{"Bearer Secret"}, ErrBadCredential},
		{[]string{"Bearer secret2"}, ErrBadCredential},
		{[]string{"Bearer "}, ErrBadCredential},
		{[]string{""}, ErrBadCredential},
		{[]string{"secret"}, ErrBadCredential},
		{[]string{"Basic secret"}, ErrBadCredential},
		{[]string{"Bearer secret", "Bearer secret"}, ErrBadCredential},
		{[]string{"Bearer other", "Bearer secret"}, ErrBadCredential},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = test.sent
		user, err := authenticate(r)
		if !errors.Is(err, test.want) || (err == nil) != user.may(AdminResources) {
			t.Errorf("%q is %v, %v; want %v", test.sent, user, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret2") {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
}

func TestFirstOf(t *testing.T) {
	says := func(name string, err error) Authenticator {
		return func(*http.Request) (User, error) { return User{Name: name}, err }
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, test := range map[string]struct {
		chain Authenticator
		user  string
		err   error
	}{
		"nobody asked":    {FirstOf(), "", ErrNoCredential},
		"nobody found":    {FirstOf(says("", ErrNoCredential)), "", ErrNoCredential},
		"the second":      {FirstOf(says("", ErrNoCredential), says("b", nil)), "b", nil},
		"the first":       {FirstOf(says("a", nil), says("b", nil)), "a", nil},
		"a bad one stops": {FirstOf(says("", ErrBadCredential), says("b", nil)), "", ErrBadCredential},
	} {
		if user, err := test.chain(r); user.Name != test.user || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v", name, user, err)
		}
	}
}

func TestLocalhostIsAdmin(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*http.Request)
		admin  bool
	}{
		"plain":               {func(*http.Request) {}, true},
		"IPv6":                {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:999", "[::1]:5681" }, true},
		"mapped":              {func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:999" }, true},
		"localhost by name":   {func(r *http.Request) { r.Host = "LocalHost:5681" }, true},
		"no port":             {func(r *http.Request) { r.Host = "127.0.0.1" }, true},
		"same-origin page":    {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, true},
		"typed into the bar":  {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") }, true},
		"own origin":          {func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:5681") }, true},
		"other host":          {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:999" }, false},
		"no address":          {func(r *http.Request) { r.RemoteAddr = "@" }, false},
		"rebound name":        {func(r *http.Request) { r.Host = "evil.example:5681" }, false},
		"name with localhost": {func(r *http.Request) { r.Host = "localhost.evil.example" }, false},
		"no host":             {func(r *http.Request) { r.Host = "" }, false},
		"forwarded":           {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, false},
		"forwarded, empty":    {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "") }, false},
		"forwarded, new":      {func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") }, false},
		"forwarded by nginx":  {func(r *http.Request) { r.Header.Set("X-Real-IP", "192.0.2.1") }, false},
		"via":                 {func(r *http.Request) { r.Header.Set("Via", "1.1 proxy") }, false},
		"cross-site page":     {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, false},
		"same-site page":      {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, false},
		"two sites":           {func(r *http.Request) { r.Header["Sec-Fetch-Site"] = []string{"none", "cross-site"} }, false},
		"other origin":        {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, false},
		"other local port":    {func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8080") }, false},
		"other scheme":        {func(r *http.Request) { r.Header.Set("Origin", "https://127.0.0.1:5681") }, false},
		"TLS, own origin": {func(r *http.Request) {
			r.TLS = &tls.ConnectionState{}
			r.Header.Set("Origin", "https://127.0.0.1:5681")
		}, true},
		"null origin": {func(r *http.Request) { r.Header.Set("Origin", "null") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = "127.0.0.1:999", "127.0.0.1:5681"
			test.change(r)
			user, err := LocalhostIsAdmin(r)
			if user.may(AdminResources) != test.admin || errors.Is(err, ErrNoCredential) == test.admin {
				t.Errorf("user %v, %v; want admin %t", user, err, test.admin)
			}
		})
	}
}

// TestLocalSocket asks over a real unix socket, as ourselves and as somebody
// else, and over TCP.
func TestLocalSocket(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Authenticate = FirstOf(s.Authenticate, LocalSocket) })
	path := filepath.Join(t.TempDir(), "api.sock")
	unixListener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcpListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f.Handler(), ConnContext: ConnContext}
	t.Cleanup(func() { _ = srv.Close() })
	for _, l := range []net.Listener{unixListener, tcpListener} {
		go func() { _ = srv.Serve(l) }()
	}
	ask := func(dial func(context.Context) (net.Conn, error), headers ...string) int {
		t.Helper()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/meshes/default", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, _ := do(t, &http.Client{Transport: transport}, req)
		return resp.status
	}
	overUnix := func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }
	overTCP := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", tcpListener.Addr().String())
	}
	if status := ask(overUnix); status != 200 {
		t.Errorf("over our own socket: %d, want 200", status)
	}
	if status := ask(overUnix, "Authorization", "Bearer wrong"); status != 401 {
		t.Errorf("over our own socket with a wrong token: %d, want 401", status)
	}
	if status := ask(overTCP); status != 401 {
		t.Errorf("over TCP: %d, want 401", status)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	if err := errors.Join(os.Chmod(path, 0o777), os.Chmod(filepath.Dir(path), 0o755), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	asNobody := func(ctx context.Context) (conn net.Conn, err error) {
		done := make(chan struct{})
		go func() { // on a thread of its own, which ends with its user
			defer close(done)
			runtime.LockOSThread()
			const nobody = 65534
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				err = errno
				return
			}
			conn, err = overUnix(ctx)
		}()
		<-done
		return conn, err
	}
	if status := ask(asNobody); status != 401 {
		t.Errorf("over the socket as nobody: %d, want 401", status)
	}
}
