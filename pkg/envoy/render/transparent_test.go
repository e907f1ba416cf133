package render_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// inOwnNamespace runs the calling test again in a network namespace that
// nobody else has, and tells whether this is that run.
func inOwnNamespace(t *testing.T) bool {
	t.Helper()
	const inside = "WEFT_TEST_INSIDE"
	if os.Getenv(inside) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("in a namespace of its own (needs root): %v\n%s", err, out)
	}
	return false
}

// redirected is the least that redirection does: what the host calls goes to
// 15001, what the proxies call at its ports to 15006.
const redirected = `
table inet test {
	chain out {
		type nat hook output priority -100;
		meta mark & 0x3000 != 0 return
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		meta l4proto tcp redirect to :15001
	}
	chain in {
		type filter hook prerouting priority mangle;
		meta mark & 0x3000 == 0x1000 meta nfproto ipv4 tcp dport { 8001, 8002 } tproxy ip to :15006 accept
		meta mark & 0x3000 == 0x1000 meta nfproto ipv6 tcp dport { 8001, 8002 } tproxy ip6 to :15006 accept
	}
}`

func sh(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// One host calls its own service by VIP, the whole way: redirected out, mTLS,
// redirected in, to a workload that listens at the very address and port that
// its proxy serves.
func TestTransparent(t *testing.T) {
	if !inOwnNamespace(t) {
		return
	}
	for _, args := range []string{
		"ip link set lo up",
		"ip addr add 192.0.2.1/32 dev lo", "ip addr add 192.0.2.2/32 dev lo",
		"ip addr add 2001:db8::1/128 dev lo nodad", "ip addr add 2001:db8::2/128 dev lo nodad",
		"ip route add 240.0.0.0/4 dev lo", "ip route add fd57:6566:7400::/64 dev lo",
	} {
		sh(t, "", strings.Fields(args)...)
	}
	sh(t, redirected, "nft", "-f", "-")

	for _, family := range []struct {
		name                      string
		host, outside, vip, other netip.Addr
		loopback                  string
	}{
		{"ipv4", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"),
			netip.MustParseAddr("240.0.0.7"), netip.MustParseAddr("240.0.0.8"), "127.0.0.1"},
		{"ipv6", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"),
			netip.MustParseAddr("fd57:6566:7400::7"), netip.MustParseAddr("fd57:6566:7400::8"), "[::1]"},
	} {
		t.Run(family.name, func(t *testing.T) {
			at := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
			listen(t, at(family.host, 8001), "workload")
			listen(t, at(family.host, 8002), "undeclared")
			listen(t, at(family.outside, 9000), "outside")
			c := &proxy.Config{
				ID:          proxy.ID{Mesh: "default", Name: "api-1"},
				Identity:    &proxy.Identity{TrustDomain: "default"},
				Transparent: &proxy.Transparent{InboundPort: 15006, OutboundPort: 15001, Passthrough: true},
				Inbounds: []proxy.Inbound{{
					Name: "8001", Listen: netip.AddrPortFrom(family.host, 8001), Workload: netip.AddrPortFrom(family.host, 8001),
					Service: "api", Protocol: proxy.HTTP,
					Access: proxy.Access{Mode: proxy.Strict, Policy: "all", Allow: []proxy.Principal{{}}},
				}},
				Outbounds: []proxy.Outbound{{
					Name: "api", Service: "api", Protocol: proxy.HTTP,
					Listen: []netip.AddrPort{netip.AddrPortFrom(family.vip, proxy.VIPPort)}, Routes: everythingTo("api"),
				}},
				Clusters: []proxy.Cluster{{
					Name: "api", Service: "api", HTTP2: true,
					TLS: &proxy.PeerTLS{PeerURI: "spiffe://default/api", SNI: "api{mesh=default}"},
				}},
			}
			endpoints := []proxy.Endpoints{{Cluster: "api", Members: []proxy.Endpoint{{Address: netip.AddrPortFrom(family.host, 8001)}}}}
			ca := newAuthority(t)
			secrets := ca.secrets(t, "default", ca.certificate(t, "spiffe://default/api"))

			check := func(t *testing.T, address, want string) {
				t.Helper()
				watch := testtime.Start(t)
				got, _ := get(t, plainClient(), "http://"+address, nil)
				if !strings.HasPrefix(got, want) {
					t.Errorf("%s: %q, want %q", address, got, want)
				}
				if took := watch.Took(); took > 3*time.Second {
					t.Errorf("%s: took %s", address, took)
				}
			}
			t.Run("passthrough", func(t *testing.T) {
				admin := runEnvoy(t, c, endpoints, secrets)
				check(t, at(family.vip, 80), "200 workload identity=URI=spiffe://default/api")
				check(t, at(family.outside, 9000), "200 outside")
				check(t, at(family.host, 8002), "error: ")                // no inbound declares it
				check(t, at(family.host, 8001), "error: ")                // plain, to a strict inbound
				check(t, at(family.other, 80), "error: ")                 // no such service
				check(t, at(family.vip, 81), "error: ")                   // nor such a port of one
				check(t, family.loopback+":15001", "error: ")             // the capture listeners themselves
				check(t, family.loopback+":15006", "error: ")             //
				check(t, at(family.host, 15001), "error: ")               // there is no listener on it
				check(t, at(family.host, 15006), "error: ")               // there is
				check(t, at(family.vip, 80), "200 workload identity=URI") // and all is as before
				stats, err := admin.Stats(t.Context(), `^listener\..*downstream_cx_total$`)
				if err != nil {
					t.Fatal(err)
				}
				for name, n := range stats {
					if n > 12 && !strings.Contains(name, "admin") {
						t.Errorf("%s is %d: connections went in circles", name, n)
					}
				}
			})
			t.Run("no passthrough", func(t *testing.T) {
				c.Transparent.Passthrough = false
				runEnvoy(t, c, endpoints, secrets)
				check(t, at(family.vip, 80), "200 workload identity=URI=spiffe://default/api")
				check(t, at(family.outside, 9000), "error: ")
				check(t, family.loopback+":15001", "error: ")
			})
		})
	}
}

// listen serves HTTP that tells name and the caller's identity, if any.
func listen(t *testing.T, address, name string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name)
		for field := range strings.SplitSeq(r.Header.Get("X-Forwarded-Client-Cert"), ";") {
			if strings.HasPrefix(field, "URI=") {
				fmt.Fprintf(w, " identity=%s", field)
			}
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}
