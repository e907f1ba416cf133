// Package render turns a plan into Envoy's resources, one file per concept of
// Envoy. It knows no policy: what is not in the plan is not rendered.
package render

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Bundle is everything of one proxy that is its own: what others share
// (endpoints, names) travels in lanes of their own. Each list is sorted by name.
type Bundle struct {
	Listeners []Resource
	Clusters  []Resource
	Routes    []Resource
	// Secrets are what clusters name. A plan does not have them: whoever does
	// adds them. Only their names are ever printed.
	Secrets []Resource
	// Warnings are what could not be rendered as it was planned.
	Warnings []proxy.Warning
}

// AddSecrets makes secrets a part of b.
func (b *Bundle) AddSecrets(secrets []Resource) {
	b.Secrets = slices.SortedFunc(slices.Values(secrets), func(a, c Resource) int { return cmp.Compare(a.Name, c.Name) })
}

// A Resource is one of Envoy's resources under the name it is asked for by.
type Resource struct {
	Name    string
	Message proto.Message
	// Origin is of which part of the plan it is: inbound, outbound, …; "" where
	// nobody asks.
	Origin string
}
