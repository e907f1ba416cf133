package render

import (
	"errors"
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	_ "github.com/weft-mesh/weft/pkg/envoy/extensions" // people may write any of them
	"github.com/weft-mesh/weft/pkg/proxy"
)

// ownClusters begin the names of the clusters of the bootstrap: keys and
// configuration come from there, and nothing may take their place.
const ownClusters = "weft_"

// Check tells what of a template is not in Envoy's words, by the field in which
// it is written.
func Check(t *proxy.Template) (faults []proxy.Warning) {
	fault := func(part string, err error) {
		if err != nil {
			faults = append(faults, proxy.Warning{Part: part, Text: err.Error()})
		}
	}
	for _, raw := range t.Resources {
		_, err := parseRaw(raw)
		fault(raw.Part+".resource", err)
	}
	for _, m := range t.Modifications {
		if m.Do != proxy.Remove {
			_, err := parseValue(m)
			fault(m.Part+".value", err)
		}
	}
	return faults
}

// parseRaw reads a whole listener, cluster or route configuration.
func parseRaw(raw proxy.Raw) (proto.Message, error) {
	packed := new(anypb.Any)
	if err := parse(raw.Text, packed); err != nil {
		return nil, err
	}
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("its @type is not known: %w", err)
	}
	named, ok := m.(interface{ GetName() string })
	switch m.(type) {
	case *clusterv3.Cluster, *listenerv3.Listener, *routev3.RouteConfiguration:
	default:
		ok = false
	}
	switch {
	case !ok:
		return nil, fmt.Errorf("is of type %s; only a Listener, a Cluster or a RouteConfiguration can be told as a whole", m.ProtoReflect().Descriptor().FullName())
	case named.GetName() != raw.Name:
		return nil, fmt.Errorf("is called %q, and not %q as the resource", named.GetName(), raw.Name)
	}
	return m, valid(m)
}

// parseValue reads what a modification adds or patches with.
func parseValue(m proxy.Modification) (proto.Message, error) {
	var v proto.Message
	switch m.Of {
	case proxy.OfCluster:
		v = new(clusterv3.Cluster)
	case proxy.OfListener:
		v = new(listenerv3.Listener)
	case proxy.OfNetworkFilter:
		v = new(listenerv3.Filter)
	case proxy.OfHTTPFilter:
		v = new(hcmv3.HttpFilter)
	case proxy.OfVirtualHost:
		v = new(routev3.VirtualHost)
	default:
		return nil, fmt.Errorf("there is no modification of %q", m.Of)
	}
	if err := parse(m.Text, v); err != nil {
		return nil, err
	}
	if m.Do == proxy.Patch {
		return v, nil // a part need not be valid by itself
	}
	return v, valid(v)
}

// parse reads YAML, or JSON, into a message of Envoy's.
func parse(text string, into proto.Message) error {
	doc, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return fmt.Errorf("is no YAML: %s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: "))
	}
	if err := protojson.Unmarshal(doc, into); err != nil {
		// The library puts a space of varying width behind "proto:".
		words := strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
		return fmt.Errorf("is no %s of Envoy's: %s", into.ProtoReflect().Descriptor().Name(), words)
	}
	return nil
}

// valid asks the rules that Envoy publishes with its types, and ours.
func valid(m proto.Message) error {
	if c, ok := m.(*clusterv3.Cluster); ok && strings.HasPrefix(c.GetName(), ownClusters) {
		return fmt.Errorf("must not be called %q: names that begin with %s are the agent's", c.GetName(), ownClusters)
	}
	if n, ok := m.(interface{ GetName() string }); ok && n.GetName() == "" {
		return errors.New("needs a name")
	}
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return fmt.Errorf("is not valid: %w", err)
		}
	}
	return nil
}
