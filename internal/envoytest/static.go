package envoytest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/envoy/bootstrap"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// statics are one Told as a bootstrap can hold it.
type statics struct {
	name      string
	listeners []proto.Message
	clusters  []proto.Message
}

// static makes told static: routes that listeners fetch are put in their
// place, and endpoints become clusters. It fails where a listener asks for
// routes that are not there, or nobody asks for some that are.
func static(told Told) (statics, error) {
	s := statics{name: told.Name}
	if told.Bundle != nil {
		if err := s.bundle(told.Bundle); err != nil {
			return s, err
		}
	}
	for _, e := range told.Endpoints {
		s.clusters = append(s.clusters, &clusterv3.Cluster{
			Name:                 "endpoints of " + e.ClusterName,
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			ConnectTimeout:       durationpb.New(1e9),
			LoadAssignment:       e,
		})
	}
	return s, nil
}

func (s *statics) bundle(b *render.Bundle) error {
	routes := map[string]*routev3.RouteConfiguration{}
	for _, r := range b.Routes {
		routes[r.Name] = r.Message.(*routev3.RouteConfiguration)
	}
	asked := map[string]bool{}
	for _, r := range b.Listeners {
		l := proto.CloneOf(r.Message.(*listenerv3.Listener))
		err := walk(l.ProtoReflect(), func(m protoreflect.Message) error {
			hcm, ok := m.Interface().(*hcmv3.HttpConnectionManager)
			if !ok || hcm.GetRds() == nil {
				return nil
			}
			name := hcm.GetRds().RouteConfigName
			rc := routes[name]
			if rc == nil {
				return fmt.Errorf("listener %q asks for route configuration %q, which is not rendered", l.Name, name)
			}
			asked[name] = true
			hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: rc}
			return nil
		})
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	for name := range routes {
		if !asked[name] {
			return fmt.Errorf("no listener asks for route configuration %q", name)
		}
	}
	for _, r := range b.Clusters {
		s.clusters = append(s.clusters, r.Message)
	}
	return nil
}

// emptyBootstrap is what an Envoy of ours starts from. All of its sockets lead
// nowhere.
func emptyBootstrap(t testing.TB) []byte {
	t.Helper()
	const nothing = "/nothing.sock"
	text, err := bootstrap.JSON(bootstrap.Config{
		ID: proxy.ID{Mesh: "default", Name: "all"}, XDSSocket: nothing, SDSSocket: nothing, AdminSocket: nothing,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// together is one bootstrap that holds all. Their clusters get names of their
// own, their listeners names and addresses.
func together(t testing.TB, all []statics) []byte {
	t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal(emptyBootstrap(t), &doc); err != nil {
		t.Fatal(err)
	}
	resources := doc["static_resources"].(map[string]any)
	clusters, listeners := resources["clusters"].([]any), []any{}
	at := addresses{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fd00::1")}
	for _, s := range all {
		mine := map[string]bool{}
		for _, m := range s.clusters {
			mine[m.(*clusterv3.Cluster).Name] = true
		}
		rename := func(m protoreflect.Message) {
			fields := m.Descriptor().Fields()
			for i := range fields.Len() {
				f := fields.Get(i)
				if f.Kind() != protoreflect.StringKind || f.IsList() || f.IsMap() || !isClusterName(string(f.Name())) {
					continue
				}
				if name := m.Get(f).String(); mine[name] {
					m.Set(f, protoreflect.ValueOfString(s.name+": "+name))
				}
			}
		}
		put := func(m proto.Message) json.RawMessage {
			err := walk(m.ProtoReflect(), func(m protoreflect.Message) error {
				rename(m)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			text, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		for _, m := range s.clusters {
			c := proto.CloneOf(m.(*clusterv3.Cluster))
			c.Name = s.name + ": " + c.Name
			clusters = append(clusters, put(c))
		}
		for _, m := range s.listeners {
			l := proto.CloneOf(m.(*listenerv3.Listener))
			l.Name = s.name + ": " + l.Name
			at.give(l.Address.GetSocketAddress())
			listeners = append(listeners, put(l))
		}
	}
	resources["clusters"], resources["listeners"] = clusters, listeners
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// addresses are the next free ones, IPv4 and IPv6: no two listeners of one
// Envoy may share one.
type addresses [2]netip.Addr

func (a *addresses) give(s *corev3.SocketAddress) {
	at, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		return // a pipe, or a name, which Envoy shall judge
	}
	next := &a[0]
	if at.Is6() {
		next = &a[1]
	}
	s.Address = next.String()
	*next = next.Next()
}

// walk calls f for m and for every message in it, before what is in that. What
// is packed in an Any is packed again.
func walk(m protoreflect.Message, f func(protoreflect.Message) error) error {
	if err := f(m); err != nil {
		return err
	}
	if a, ok := m.Interface().(*anypb.Any); ok {
		inside, err := a.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("unpack %s: %w", a.TypeUrl, err)
		}
		if err := walk(inside.ProtoReflect(), f); err != nil {
			return err
		}
		return anypb.MarshalFrom(a, inside, proto.MarshalOptions{Deterministic: true})
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					err = walk(v.Message(), f)
					return err == nil
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = walk(v.List().Get(i).Message(), f)
			}
		default:
			err = walk(v.Message(), f)
		}
		return err == nil
	})
	return err
}
