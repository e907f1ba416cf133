package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Every method that is registered has an entry, and refuses who shows nothing.
func TestEveryMethodNeedsACredential(t *testing.T) {
	w := newWorld(t)
	services := w.server.GetServiceInfo()
	must(t, host.Covered(services))
	conn := w.client(t, nil)
	count := 0
	for name, s := range services {
		for _, m := range s.Methods {
			count++
			full := "/" + name + "/" + m.Name
			stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, full)
			must(t, err)
			_ = stream.SendMsg(new(hostv1.LeaveRequest))
			_ = stream.CloseSend()
			if err := stream.RecvMsg(new(hostv1.LeaveResponse)); err == nil {
				t.Errorf("%s answered a stranger", full)
			} else {
				wantCode(t, err, codes.Unauthenticated)
			}
		}
	}
	if count != 7 {
		t.Errorf("looked at %d methods, want 7", count)
	}
}

// Strangers are refused before they have sent a message: what they send costs
// nothing then.
func TestStrangersAreRefusedUnread(t *testing.T) {
	w := newWorld(t)
	forged := w.token(t, token.Claims{})
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	for name, s := range w.server.GetServiceInfo() {
		for _, m := range s.Methods {
			for _, raw := range []string{"", "x", forged} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if raw != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", raw)
				}
				stream, err := w.client(t, nil).NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+name+"/"+m.Name)
				must(t, err)
				wantCode(t, stream.RecvMsg(new(hostv1.LeaveResponse)), codes.Unauthenticated)
				cancel()
			}
		}
	}
}

func TestMethodsThatNobodyDeclared(t *testing.T) {
	w := newWorld(t)
	bare := grpc.NewServer()
	bare.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "FetchAggregatedResources"}},
	}, w)
	if err := host.Covered(bare.GetServiceInfo()); err == nil || !strings.Contains(err.Error(), "FetchAggregatedResources") {
		t.Errorf("error %v", err)
	}
	_, err := w.auth.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/x/Y"}, func(context.Context, any) (any, error) {
		t.Error("the method was entered")
		return nil, nil
	})
	wantCode(t, err, codes.PermissionDenied, "nobody may call")
}

func TestPanicIsContained(t *testing.T) {
	w := newWorld(t)
	w.service.Decode = func(*mesh.Kind, []byte) (mesh.Resource, error) { panic("boom") }
	_, err := w.join(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	wantCode(t, err, codes.Internal)
	if strings.Contains(err.Error(), "boom") {
		t.Errorf("the panic was told: %v", err)
	}
	w.service.Decode = nil // and once more, by a nil function
	_, err = w.join(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	wantCode(t, err, codes.Internal)
}

// Certificates that are not the control plane's own do not get through TLS, and
// those that are but name no grant do not get further.
func TestForeignCertificates(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id, _ := url.Parse("weft://default/dataplane/web-1")
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{id}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	must(t, err)
	_, err = w.register(t, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Unavailable)

	// The workload's certificate is of another authority and no door.
	builtin := &ca.Meshes{Store: w.store, Now: w.clock}
	r, err := w.store.Get(t.Context(), mesh.Key{Kind: "Mesh", Name: "default"})
	must(t, err)
	issued, err := builtin.Sign(t.Context(), "default", r.Spec.(*mesh.MeshSpec), []string{"spiffe://default/web"}, key.Public(), time.Hour)
	must(t, err)
	pair := &tls.Certificate{Certificate: [][]byte{decode(t, issued.Certificate)}, PrivateKey: key}
	_, err = w.register(t, pair, doc("default", "web-1", "web"))
	wantCode(t, err, codes.Unavailable)

	for _, name := range []string{"spiffe://default/web", "weft://default/zone/web-1", "weft://default/dataplane/a/b", "weft://default/dataplane/web-1?b=1&a=1"} {
		data, err := w.own.SignAgent(key.Public(), name, w.clock())
		must(t, err)
		_, err = w.register(t, &tls.Certificate{Certificate: [][]byte{decode(t, data)}, PrivateKey: key}, doc("default", "web-1", "web"))
		wantCode(t, err, codes.Unauthenticated, "no agent's certificate")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	w := newWorld(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.own.Pool(), MaxVersion: version, MinVersion: version, NextProtos: []string{"h2"}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

func decode(t *testing.T, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}
