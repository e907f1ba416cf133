// Package render turns a plan into Envoy's resources, one file per concept of
// Envoy. It knows no policy: what is not in the plan is not rendered.
package render

import "google.golang.org/protobuf/proto"

// A Bundle is everything of one proxy that is its own: what others share
// (endpoints, names) travels in lanes of their own. Each list is sorted by name.
type Bundle struct {
	Listeners []Resource
	Clusters  []Resource
	Routes    []Resource
	// Version is a hash of all of it: equal bundles have equal versions.
	Version string
}

// A Resource is one of Envoy's resources under the name it is asked for by.
type Resource struct {
	Name    string
	Message proto.Message
}
