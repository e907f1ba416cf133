//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// floors measures what the same machine needs for the least that the same work
// takes, in the same run: how near to it the control plane is says more than
// any figure of its own.
func floors(ctx context.Context, f *fleet, t *table) error {
	for _, ours := range []struct {
		what    string
		streams int
		took    time.Duration
	}{{"an endpoint", f.callers(0), t.endpoint}, {"a policy", f.c.Proxies / f.c.Services, t.policy}} {
		for _, kind := range floorKinds {
			took, err := fanOut(ctx, kind.name, ours.streams, f.c.rounds)
			if err != nil {
				return fmt.Errorf("floor %s: %w", kind.name, err)
			}
			t.row("floor: "+kind.what, "p50 %s for %d streams; ours, of %s, is %.1f times that", round(took), ours.streams, ours.what, float64(ours.took)/float64(took))
		}
	}
	return small(f.c.Proxies, t)
}

// small measures single steps.
func small(proxies int, t *table) error {
	assignment := floorAssignment(0)
	const times = 1000
	began := time.Now()
	for range times {
		if _, err := proto.Marshal(assignment); err != nil {
			return err
		}
	}
	once := time.Since(began) / times
	t.row("floor: an assignment encoded once", "%s; for each of %d proxies %s", round(once), proxies, round(once*time.Duration(proxies)))

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("a certificate"))
	began = time.Now()
	for range times {
		if _, err := ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
			return err
		}
	}
	t.row("floor: one ECDSA P-256 signature", "%s", round(time.Since(began)/times))

	dir, err := os.MkdirTemp("", "weft-floor-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer file.Close()
	const syncs = 100
	began = time.Now()
	for range syncs {
		if _, err := file.Write(make([]byte, 4096)); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return err
		}
	}
	t.row("floor: 4 KiB written and fdatasync", "%s", round(time.Since(began)/syncs))
	return nil
}

// fanOut starts a floor's server as a process of its own, opens the streams to
// it as ours are opened, and returns the median time from the word to change
// until the last stream has the change.
func fanOut(ctx context.Context, kind string, streams, rounds int) (_ time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, floorCommand, kind)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close(), cmd.Wait()) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("its server did not start: %w", err)
	}
	address, pem, _ := strings.Cut(strings.TrimSpace(line), " ")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(strings.ReplaceAll(pem, "|", "\n"))) {
		return 0, errors.New("its server sent no certificate")
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got, broke := make(chan struct{}, streams), make(chan error, streams)
	for range streams {
		go func() {
			if err := followFloor(ctx, address, roots, got); ctx.Err() == nil {
				broke <- err
			}
		}()
	}
	await := func() error {
		limit := time.After(patience)
		for range streams {
			select {
			case <-got:
			case err := <-broke:
				return err
			case <-limit:
				return errors.New("a stream got nothing")
			}
		}
		return nil
	}
	if err := await(); err != nil { // the first answers
		return 0, err
	}
	var took []time.Duration
	for range rounds {
		quiet(ctx)
		began := time.Now()
		if _, err := io.WriteString(in, "change\n"); err != nil {
			return 0, err
		}
		if err := await(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}

func followFloor(ctx context.Context, address string, roots *x509.CertPool, got chan<- struct{}) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})))
	if err != nil {
		return err
	}
	defer conn.Close()
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	req := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "floor"}, TypeUrl: resource.EndpointType, ResourceNamesSubscribe: []string{floorCluster}}
	for {
		if err := st.Send(req); err != nil {
			return err
		}
		r, err := st.Recv()
		if err != nil {
			return err
		}
		got <- struct{}{}
		req = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	}
}

const floorCluster = "service-000"

// floorAssignment has ten endpoints, of which the last one changes.
func floorAssignment(n int) *endpointv3.ClusterLoadAssignment {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: floorCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{}}}
	for i := range 10 {
		at := address(i)
		if i == 9 {
			at = address(n)
		}
		a.Endpoints[0].LbEndpoints = append(a.Endpoints[0].LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: at.String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8080},
			}}},
		}}})
	}
	return a
}
