package render

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

// YAML prints a bundle for people, in the words of Envoy's own documentation.
// Equal bundles give equal bytes.
func YAML(b *Bundle) ([]byte, error) {
	version, err := b.Version()
	if err != nil {
		return nil, err
	}
	doc := struct {
		Version   string            `json:"version,omitempty"`
		Listeners []json.RawMessage `json:"listeners,omitempty"`
		Clusters  []json.RawMessage `json:"clusters,omitempty"`
		Routes    []json.RawMessage `json:"routes,omitempty"`
		Secrets   []string          `json:"secrets,omitempty"` // names alone
	}{Version: version}
	for _, r := range b.Secrets {
		doc.Secrets = append(doc.Secrets, r.Name)
	}
	for _, part := range []struct {
		from []Resource
		to   *[]json.RawMessage
	}{{b.Listeners, &doc.Listeners}, {b.Clusters, &doc.Clusters}, {b.Routes, &doc.Routes}} {
		for _, r := range part.from {
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r.Message)
			if err != nil {
				return nil, fmt.Errorf("print %q: %w", r.Name, err)
			}
			*part.to = append(*part.to, text)
		}
	}
	// yaml.Marshal goes through JSON and sorts, so that protojson's changing
	// white space is gone.
	text, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("print bundle %s: %w", version, err)
	}
	return text, nil
}
