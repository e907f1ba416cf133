package render_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// inboundEnvoy runs an Envoy with the inbounds, on ports 8001 and up, before a
// workload that answers 64 KiB. It returns their URLs without the scheme.
func inboundEnvoy(t *testing.T, ca *authority, inbounds ...proxy.Inbound) (at []string) {
	t.Helper()
	host := ownAddress(t)
	workload := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Limited", "workload")
		_, _ = rw.Write(bytes.Repeat([]byte("x"), 64<<10))
	}))
	workload.Config.Protocols = new(http.Protocols)
	workload.Config.Protocols.SetHTTP1(true)
	workload.Config.Protocols.SetUnencryptedHTTP2(true)
	workload.Start()
	t.Cleanup(workload.Close)
	server := &proxy.Config{ID: proxy.ID{Mesh: "default", Name: "api-1"}, Identity: &proxy.Identity{TrustDomain: "default"}}
	for i, in := range inbounds {
		in.Name, in.Listen = fmt.Sprint(i), netip.AddrPortFrom(host, uint16(8001+i))
		in.Workload = netip.MustParseAddrPort(workload.Listener.Addr().String())
		in.Access.Policy, in.Access.Allow = "all", []proxy.Principal{{}}
		server.Inbounds = append(server.Inbounds, in)
		at = append(at, "://"+in.Listen.String())
	}
	runEnvoy(t, server, nil, ca.secrets(t, "default", ca.certificate(t, "spiffe://default/api")))
	return at
}

// statuses counts the statuses of n answers.
func statuses(t *testing.T, c *http.Client, url string, n int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		got, _ := get(t, c, url, nil)
		counts[strings.Fields(got)[0]]++
	}
	return counts
}

func TestRateLimits(t *testing.T) {
	ca := newAuthority(t)
	limit := func(requests uint32, callers ...proxy.Caller) proxy.RateLimit {
		return proxy.RateLimit{Callers: callers, Requests: requests, Interval: proxy.Duration(time.Hour), Status: 429}
	}
	web := proxy.Caller{"kuma.io/service": "web"}
	limits := []proxy.RateLimit{limit(1, proxy.Caller{"kuma.io/service": "web", "version": "1"}), limit(2, web), limit(3)}
	strange := limit(1)
	strange.Status = 503
	strange.Headers = []proxy.Header{{Name: "x-limited", Value: "100% by me"}, {Name: "x-more", Value: "1", Append: true}, {Name: "x-more", Value: "2", Append: true}}
	short := limit(2)
	short.Interval = proxy.Duration(300 * time.Millisecond)
	at := inboundEnvoy(t, ca,
		proxy.Inbound{Protocol: proxy.HTTP, Access: proxy.Access{Mode: proxy.Strict}, RateLimits: limits},
		proxy.Inbound{Protocol: proxy.HTTP, Access: proxy.Access{Mode: proxy.Permissive}, RateLimits: limits},
		proxy.Inbound{Protocol: proxy.HTTP, Access: proxy.Access{Mode: proxy.Plain}, RateLimits: []proxy.RateLimit{strange}},
		proxy.Inbound{Protocol: proxy.GRPC, Access: proxy.Access{Mode: proxy.Plain}, RateLimits: []proxy.RateLimit{limit(1)}},
		proxy.Inbound{Protocol: proxy.HTTP, Access: proxy.Access{Mode: proxy.Plain}, RateLimits: []proxy.RateLimit{short}},
	)
	caller := func(uris ...string) *http.Client {
		return peer(ca.certificate(t, append(uris, "spiffe://default/x")...), nil)
	}
	for _, tt := range []struct {
		name   string
		c      *http.Client
		url    string
		passed int
	}{
		{"the most specific counts", caller("kuma://kuma.io/service/web", "kuma://version/1"), "https" + at[0], 1},
		{"another of the same", caller("kuma://kuma.io/service/web", "kuma://version/1"), "https" + at[0], 0},
		{"the next one", caller("kuma://kuma.io/service/web", "kuma://version/2"), "https" + at[0], 2},
		{"the last one", caller("kuma://kuma.io/service/db"), "https" + at[0], 3},
		{"everybody else shares it", caller("kuma://kuma.io/service/other"), "https" + at[0], 0},
		{"a plain caller", plainClient(), "http" + at[1], 3},
		{"mTLS beside it", caller("kuma://kuma.io/service/web"), "https" + at[1], 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := statuses(t, tt.c, tt.url, 5); got["200"] != tt.passed || got["429"] != 5-tt.passed {
				t.Errorf("statuses %v, want %d passed and the rest 429", got, tt.passed)
			}
		})
	}
	t.Run("status and headers", func(t *testing.T) {
		if got, h := get(t, plainClient(), "http"+at[2], nil); !strings.HasPrefix(got, "200") || h.Get("X-Limited") != "workload" || h["X-More"] != nil {
			t.Errorf("under the limit: %.20q, %v", got, h)
		}
		got, h := get(t, plainClient(), "http"+at[2], nil)
		if !strings.HasPrefix(got, "503") || h.Get("X-Limited") != "100% by me" || !slices.Equal(h["X-More"], []string{"1", "2"}) {
			t.Errorf("over the limit: %.40q, %v", got, h)
		}
	})
	t.Run("gRPC is told that something is exhausted", func(t *testing.T) {
		h2c := &http.Transport{Protocols: new(http.Protocols)}
		h2c.Protocols.SetUnencryptedHTTP2(true)
		defer h2c.CloseIdleConnections()
		for i, want := range []string{"", "8"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http"+at[3]+"/a.Service/Call", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/grpc")
			resp, err := h2c.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if got := resp.Header.Get("Grpc-Status"); resp.StatusCode != http.StatusOK || got != want {
				t.Errorf("call %d: status %d, grpc-status %q, want %q", i, resp.StatusCode, got, want)
			}
		}
	})
	t.Run("buckets fill again", func(t *testing.T) {
		statuses(t, plainClient(), "http"+at[4], 3) // empty it
		within(t, time.Minute, func() error {
			if got, _ := get(t, plainClient(), "http"+at[4], nil); !strings.HasPrefix(got, "200") {
				return fmt.Errorf("answer %.20q", got)
			}
			return nil
		})
	})
}

// All addresses of an outbound have one limit.
func TestOutboundRateLimit(t *testing.T) {
	at := ownAddress(t)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	listen := []netip.AddrPort{netip.AddrPortFrom(at, 8001), netip.AddrPortFrom(at, 8002)}
	runEnvoy(t, &proxy.Config{
		ID: proxy.ID{Mesh: "default", Name: "web-1"},
		Outbounds: []proxy.Outbound{{
			Name: "pay", Service: "pay", Protocol: proxy.HTTP, Listen: listen, Routes: everythingTo("pay"),
			RateLimit: &proxy.RateLimit{Requests: 3, Interval: proxy.Duration(time.Hour), Status: 429},
		}},
		Clusters: []proxy.Cluster{{Name: "pay", Service: "pay"}},
	}, []proxy.Endpoints{{Cluster: "pay", Members: []proxy.Endpoint{{Address: netip.MustParseAddrPort(server.Listener.Addr().String())}}}}, nil)
	for i, want := range []map[string]int{{"200": 2}, {"200": 1, "429": 1}} {
		if got := statuses(t, plainClient(), "http://"+listen[i].String(), 2); !maps.Equal(got, want) {
			t.Errorf("address %d: statuses %v, want %v", i, got, want)
		}
	}
}

// Envoy refuses a whole listener for a status that it has no name for.
func TestStatusesOfLimits(t *testing.T) {
	for status := uint32(1); status < 1000; status++ {
		on := &mesh.OnRateLimit{Status: status}
		spec := &mesh.RateLimit{Conf: mesh.RateLimitConf{HTTP: &mesh.HTTPRateLimit{Requests: 1, Interval: "1s", OnRateLimit: on}}}
		taken := !slices.ContainsFunc(spec.Validate(), func(v mesh.Violation) bool { return strings.HasPrefix(v.Field, "conf") })
		_, known := typev3.StatusCode_name[int32(status)]
		if want := known && status >= 400; taken != want {
			t.Errorf("a limit with status %d is valid: %t, and Envoy knows it: %t", status, taken, known)
		}
	}
}

func TestFaults(t *testing.T) {
	ca := newAuthority(t)
	web := []proxy.Caller{{"kuma.io/service": "web"}}
	delay := proxy.Fault{Delay: &proxy.Delay{Percent: 100, For: proxy.Duration(300 * time.Millisecond)}}
	slower := proxy.Fault{Callers: web, Delay: &proxy.Delay{Percent: 100, For: proxy.Duration(1500 * time.Millisecond)}}
	half := proxy.Fault{Abort: &proxy.Abort{Percent: 50, Status: 555}}
	few := proxy.Fault{Abort: &proxy.Abort{Percent: 0.5, Status: 555}}
	never := proxy.Fault{Abort: &proxy.Abort{Status: 555}, Delay: &proxy.Delay{For: proxy.Duration(time.Hour)}}
	narrow := proxy.Fault{Bandwidth: &proxy.Bandwidth{Percent: 100, BitsPerSecond: 1_000_000}}
	abort := proxy.Fault{Abort: &proxy.Abort{Percent: 100, Status: 503}}
	strict := func(protocol string, faults ...proxy.Fault) proxy.Inbound {
		return proxy.Inbound{Protocol: protocol, Access: proxy.Access{Mode: proxy.Strict}, Faults: faults}
	}
	at := inboundEnvoy(t, ca, strict(proxy.HTTP, delay, slower), strict(proxy.HTTP, half), strict(proxy.HTTP, narrow), strict(proxy.HTTP, never), strict(proxy.HTTP, few), strict(proxy.HTTP2, delay, abort))
	db := peer(ca.certificate(t, "spiffe://default/db", "kuma://kuma.io/service/db"), nil)
	webs := peer(ca.certificate(t, "spiffe://default/web", "kuma://kuma.io/service/web"), nil)
	// Envoy counts in whole milliseconds and may be early by some.
	timed := func(t *testing.T, c *http.Client, i int) (string, time.Duration) {
		t.Helper()
		start := time.Now()
		got, _ := get(t, c, "https"+at[i], nil)
		return strings.Fields(got)[0], time.Since(start)
	}
	t.Run("a delay", func(t *testing.T) {
		// The quickest of some: on a busy machine one may take longer.
		quickest := time.Hour
		for range 3 {
			got, d := timed(t, db, 0)
			if got != "200" || d < 290*time.Millisecond {
				t.Errorf("%s after %s", got, d)
			}
			quickest = min(quickest, d)
		}
		if quickest > 1500*time.Millisecond {
			t.Errorf("it takes %s at least", quickest)
		}
	})
	t.Run("all that match act", func(t *testing.T) {
		if got, d := timed(t, webs, 0); got != "200" || d < 1780*time.Millisecond {
			t.Errorf("%s after %s", got, d)
		}
		if got, d := timed(t, db, 5); got != "503" || d < 290*time.Millisecond {
			t.Errorf("%s after %s", got, d)
		}
	})
	keep := peer(ca.certificate(t, "spiffe://default/db"), nil)
	keep.Transport.(*http.Transport).DisableKeepAlives = false
	defer keep.CloseIdleConnections()
	t.Run("a share of aborts", func(t *testing.T) {
		const n = 1000 // 50 % are 500, with a standard deviation of 16
		if got := statuses(t, keep, "https"+at[1], n); got["555"] < 420 || got["555"] > 580 || got["200"]+got["555"] != n {
			t.Errorf("statuses %v, want half of each", got)
		}
		if got := statuses(t, keep, "https"+at[4], n); got["555"] > 30 || got["200"]+got["555"] != n {
			t.Errorf("statuses %v, want about 5 of 1000 aborted", got)
		}
	})
	t.Run("a bandwidth", func(t *testing.T) {
		// 64 KiB at 1 Mbit/s are 0.52 s.
		if got, d := timed(t, db, 2); got != "200" || d < 400*time.Millisecond || d > 20*time.Second {
			t.Errorf("%s after %s", got, d)
		}
	})
	t.Run("0 percent is nobody", func(t *testing.T) {
		if got := statuses(t, db, "https"+at[3], 50); got["200"] != 50 {
			t.Errorf("statuses %v", got)
		}
	})
}
