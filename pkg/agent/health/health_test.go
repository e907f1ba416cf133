package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weft-mesh/weft/internal/testtime"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Probe{
		"tcp": {Kind: TCP}, "http:/healthz?full": {Kind: HTTP, Path: "/healthz?full"},
		"grpc": {Kind: GRPC}, "grpc:shop.Cart": {Kind: GRPC, Service: "shop.Cart"},
	} {
		if got, err := Parse(text); err != nil || got.Kind != want.Kind || got.Path != want.Path || got.Service != want.Service {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "http", "http:healthz", "tcp:80", "udp", "grpc:"} {
		if p, err := Parse(text); err == nil || !strings.Contains(err.Error(), "none of tcp, http:/PATH") {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
}

func TestThresholds(t *testing.T) {
	bad := errors.New("bad")
	var s series
	for i, step := range []struct {
		err  error
		told bool
		well bool
	}{
		{bad, true, false}, // the first answer counts at once
		{nil, false, false},
		{bad, false, false}, // in a row
		{nil, false, false},
		{nil, true, true}, // two good ones
		{bad, false, true},
		{bad, false, true},
		{nil, false, true},
		{bad, false, true},
		{bad, false, true},
		{bad, true, false}, // three bad ones
	} {
		if told := s.takes(step.err, 2, 3); told != step.told || s.well != step.well {
			t.Errorf("answer %d: told %t, well %t, want %t, %t", i, told, s.well, step.told, step.well)
		}
	}
}

func TestAsk(t *testing.T) {
	page := http.StatusOK
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		w.WriteHeader(page)
	}))
	defer pages.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	says := health.NewServer()
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, says)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	web, rpc := pages.Listener.Addr().String(), l.Addr().String()
	closed, err := net.Listen("tcp", "127.7.7.4:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()

	ask := func(text, address string) error {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Address, p.Timeout, p.Dial = address, testtime.Wait, new(net.Dialer).DialContext
		if p.Path == "/slow" {
			p.Timeout = 300 * time.Millisecond
		}
		return p.Ask(t.Context())
	}
	for _, tt := range []struct{ what, at, want string }{
		{"tcp", web, ""}, {"tcp", nobody, "refused"},
		{"http:/", web, ""}, {"http:/", nobody, "refused"}, {"http:/slow", web, "deadline"},
		{"grpc", rpc, ""}, {"grpc:none", rpc, "NotFound"}, {"grpc", nobody, "refused"},
	} {
		if err := ask(tt.what, tt.at); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
	page = http.StatusServiceUnavailable
	if err := ask("http:/", web); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("503 is %v", err)
	}
	says.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if err := ask("grpc", rpc); err == nil || !strings.Contains(err.Error(), "NOT_SERVING") {
		t.Errorf("NOT_SERVING is %v", err)
	}
}

func TestRunTellsChanges(t *testing.T) {
	var well atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer s.Close()
	p := Probe{
		Kind: HTTP, Path: "/", Address: s.Listener.Addr().String(), Interval: 5 * time.Millisecond, Timeout: testtime.Wait,
		Healthy: 1, Unhealthy: 2, Dial: new(net.Dialer).DialContext,
	}
	told := make(chan Verdict, 10)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		p.Run(ctx, func(v Verdict) { told <- v })
		close(done)
	}()
	for _, want := range []bool{false, true, false} {
		select {
		case v := <-told:
			if v.Well != want || v.Well != (v.Why == "") || v.Since.IsZero() {
				t.Errorf("told %+v, want well %t", v, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing was told for a minute")
		}
		well.Store(!want)
	}
	stop()
	<-done
}
