//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect/ebpf"
)

// TestHostsByEBPF has two hosts whose traffic eBPF redirects, through the real
// Envoy, which reads original destinations as it does behind NAT.
func TestHostsByEBPF(t *testing.T) {
	folder := redirecttest.OwnCgroup(t)
	redirecttest.MountBPF(t)
	m := testmesh.New(t)
	join := func(service string) *testmesh.Host {
		h := m.Join(t, service, "--redirect-engine", "ebpf", "--redirect-cgroup", folder)
		t.Cleanup(func() { // whatever became of the test
			if err := h.Do(func() error { return ebpf.New().Remove(t.Context(), "") }); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
		return h
	}
	web, api := join("web"), join("api")
	service(t, api, "0.0.0.0")
	if code, body, _ := web.Curl(t, "http://api.mesh/"); code != "503" {
		t.Errorf("without a permission: code %s, %s", code, body)
	}
	m.Allow(t, "web", "api")
	for _, family := range []string{"--ipv4", "--ipv6"} {
		a := parse(t, web.WaitAnswer(t, family, "http://api.mesh/"))
		if got := a.Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/web") {
			t.Errorf("%s: the service saw x-forwarded-client-cert %q", family, got)
		}
	}

	// To the outside, Envoy goes where its original destination says.
	stranger := m.Net.Host("stranger")
	for _, a := range []netip.Addr{stranger.IP4, stranger.IP6} {
		at := netip.AddrPortFrom(a, 8088)
		stranger.Listen(t, at.String()).Serve(func(c *testnet.Conn) string {
			return "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nstranger at " + c.Local().String()
		})
		if body := web.WaitAnswer(t, "http://"+at.String()+"/"); body != "stranger at "+at.String() {
			t.Errorf("%s was answered by %q", at, body)
		}
		// Around its mTLS nobody gets in.
		if _, err := stranger.TryDial("tcp", netip.AddrPortFrom(api.IP4, 15006).String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the inbound listener, called directly: %v", err)
		}
	}
	if out, err := web.Agent(t, "redirect", "check"); err != nil || !strings.Contains(out, "as it should be") {
		t.Errorf("check: %v\n%s", err, out)
	}

	if out, err := web.Agent(t, "redirect", "check", "--probe"); err != nil {
		t.Errorf("probe: %v\n%s", err, out)
	}

	// Envoy starts anew: its listeners are known without anybody looking.
	envoy := api.Status(t).Envoy.PID
	if err := unix.Kill(envoy, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testmesh.Eventually(t, "another Envoy serves", func() error {
		if now := api.Status(t).Envoy.PID; now == envoy || now == 0 {
			return errors.New("it is the one that was killed")
		}
		if code, body, err := web.Curl(t, "http://api.mesh/"); code != "200" {
			return fmt.Errorf("code %s, %w, %s", code, err, body)
		}
		return nil
	})

	for _, h := range []*testmesh.Host{web, api} {
		if out, err := h.Agent(t, "leave"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if left, err := os.ReadDir("/sys/fs/bpf/weft"); err == nil || len(left) > 0 {
		t.Errorf("pins are left: %v", left)
	}
}
