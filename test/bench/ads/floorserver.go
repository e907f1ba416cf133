//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/anypb"
)

// floorCommand makes this program the server of a floor.
const floorCommand = "floor"

// A floorServer changes what its streams have when it is told to.
type floorServer interface {
	discoveryv3.AggregatedDiscoveryServiceServer
	change(n int) error
}

var floorKinds = []struct {
	name, what string
	make       func(ctx context.Context) floorServer
}{
	{"fan", "a ready-made answer given to every stream", func(context.Context) floorServer { return &fan{} }},
	{"linear", "go-control-plane's bare LinearCache", newLinear},
}

// serveFloor serves on loopback, prints where and by which certificate, and
// changes something for each line that it reads; its input's end is its own.
func serveFloor(ctx context.Context, args []string, stdout io.Writer) error {
	for _, kind := range floorKinds {
		if len(args) != 1 || kind.name != args[0] {
			continue
		}
		cert, err := selfSigned()
		if err != nil {
			return err
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s := kind.make(ctx)
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})))
		discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
		served := make(chan error, 1)
		go func() { served <- g.Serve(l) }()
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
		fmt.Fprintf(stdout, "%s %s\n", l.Addr(), strings.ReplaceAll(string(text), "\n", "|"))
		for n, lines := 1, bufio.NewScanner(os.Stdin); lines.Scan(); n++ {
			if err := s.change(n); err != nil {
				return err
			}
		}
		g.Stop()
		return <-served
	}
	return fmt.Errorf("%q is no floor", args)
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// fan gives every stream the same answer, made once.
type fan struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	mu      sync.Mutex
	streams []chan *discoveryv3.DeltaDiscoveryResponse
}

func fanAnswer(n int) (*discoveryv3.DeltaDiscoveryResponse, error) {
	body, err := anypb.New(floorAssignment(n))
	return &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: resource.EndpointType, Nonce: strconv.Itoa(n),
		Resources: []*discoveryv3.Resource{{Name: floorCluster, Version: strconv.Itoa(n), Resource: body}},
	}, err
}

func (f *fan) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if _, err := g.Recv(); err != nil {
		return err
	}
	answers := make(chan *discoveryv3.DeltaDiscoveryResponse, 1)
	f.mu.Lock()
	f.streams = append(f.streams, answers)
	f.mu.Unlock()
	first, err := fanAnswer(0)
	if err != nil {
		return err
	}
	for a := first; ; {
		if err := g.Send(a); err != nil {
			return err
		}
		if _, err := g.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case a = <-answers:
		case <-g.Context().Done():
			return nil
		}
	}
}

func (f *fan) change(n int) error {
	a, err := fanAnswer(n)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		s <- a
	}
	return err
}

// linear is the library that many control planes are made of.
type linear struct {
	server.Server
	cache *cache.LinearCache
}

func newLinear(ctx context.Context) floorServer {
	c := cache.NewLinearCache(resource.EndpointType, cache.WithInitialResources(map[string]types.Resource{floorCluster: floorAssignment(0)}))
	return &linear{Server: server.NewServer(ctx, c, nil), cache: c}
}

func (l *linear) change(n int) error { return l.cache.UpdateResource(floorCluster, floorAssignment(n)) }
