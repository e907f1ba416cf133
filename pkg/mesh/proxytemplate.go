package mesh

import (
	"encoding/json"
	"slices"
)

// A ProxyTemplate changes what the proxies that its selectors pick are told,
// in the proxy's own words. Without selectors it is for all of the mesh.
type ProxyTemplate struct {
	Selectors []Selector        `json:"selectors,omitempty"`
	Conf      ProxyTemplateConf `json:"conf"`
}

// ProxyTemplateConf is what changes.
type ProxyTemplateConf struct {
	// Imports are profiles of what is made out of the mesh: absent is
	// "default-proxy", and an empty list is nothing at all.
	Imports       *Profiles      `json:"imports,omitempty"`
	Resources     []RawResource  `json:"resources,omitempty"`
	Modifications []Modification `json:"modifications,omitempty"`
}

// Profiles are names of what a proxy is told without a ProxyTemplate.
type Profiles []string

// MarshalJSON keeps an empty list apart from none.
func (p Profiles) MarshalJSON() ([]byte, error) { return json.Marshal(append([]string{}, p...)) }

// DefaultProxy is the only profile: all that follows from the mesh.
const DefaultProxy = "default-proxy"

// A RawResource is one resource of the proxy's, as YAML.
type RawResource struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Resource string `json:"resource"` // with "@type"
}

// A Modification changes resources of one concept: exactly one of its fields
// is set.
type Modification struct {
	Cluster       *ClusterModification     `json:"cluster,omitempty"`
	Listener      *ListenerModification    `json:"listener,omitempty"`
	NetworkFilter *FilterModification      `json:"networkFilter,omitempty"`
	HTTPFilter    *FilterModification      `json:"httpFilter,omitempty"`
	VirtualHost   *VirtualHostModification `json:"virtualHost,omitempty"`
}

// What a modification does.
const (
	OpAdd       = "add"
	OpRemove    = "remove"
	OpPatch     = "patch"
	OpAddFirst  = "addFirst"
	OpAddBefore = "addBefore"
	OpAddAfter  = "addAfter"
	OpAddLast   = "addLast"
)

// A ClusterModification adds a cluster, or removes or patches those that match.
type ClusterModification struct {
	Operation string        `json:"operation"`
	Match     *ClusterMatch `json:"match,omitempty"` // nil: all
	Value     string        `json:"value,omitempty"` // YAML
}

// A ClusterMatch picks clusters. What is empty matches everything.
type ClusterMatch struct {
	Origin string `json:"origin,omitempty"` // see Origins
	Name   string `json:"name,omitempty"`
}

// A ListenerModification adds a listener, or removes or patches those that match.
type ListenerModification struct {
	Operation string         `json:"operation"`
	Match     *ListenerMatch `json:"match,omitempty"`
	Value     string         `json:"value,omitempty"`
}

// A ListenerMatch picks listeners.
type ListenerMatch struct {
	Origin string `json:"origin,omitempty"`
	Name   string `json:"name,omitempty"`
	Tags   Tags   `json:"tags,omitempty"` // of the inbound or outbound
}

// A FilterModification adds a filter to the listeners that match, or removes or
// patches filters.
type FilterModification struct {
	Operation string       `json:"operation"`
	Match     *FilterMatch `json:"match,omitempty"`
	Value     string       `json:"value,omitempty"`
}

// A FilterMatch picks filters by their name and their listener.
type FilterMatch struct {
	Origin       string `json:"origin,omitempty"`
	Name         string `json:"name,omitempty"` // of the filter
	ListenerName string `json:"listenerName,omitempty"`
	ListenerTags Tags   `json:"listenerTags,omitempty"`
}

// A VirtualHostModification adds a virtual host to the route configurations
// that match, or removes or patches virtual hosts.
type VirtualHostModification struct {
	Operation string            `json:"operation"`
	Match     *VirtualHostMatch `json:"match,omitempty"`
	Value     string            `json:"value,omitempty"`
}

// A VirtualHostMatch picks virtual hosts.
type VirtualHostMatch struct {
	Origin                 string `json:"origin,omitempty"`
	Name                   string `json:"name,omitempty"`
	RouteConfigurationName string `json:"routeConfigurationName,omitempty"`
}

// Origins say of which part of a mesh a resource of the proxy is.
var Origins = []string{
	"inbound", "outbound", "transparent", "direct-access", "dns", "admin", "probe", "prometheus", "ingress", "egress",
	"secrets", "tracing", "gateway", "proxy-template-raw", "proxy-template-modifications",
}

// Validate tells everything that is wrong but what takes the proxy's own words
// to know.
func (s *ProxyTemplate) Validate() (v Violations) {
	for i, sel := range s.Selectors {
		v = append(v, validateMatchTags(field("selectors", i, "match"), sel.Match)...)
	}
	c := &s.Conf
	if c.Imports != nil {
		for i, p := range *c.Imports {
			if p != DefaultProxy {
				v.Add(field("conf.imports", i), "%q is no profile; the only one is %s", p, DefaultProxy)
			}
		}
	}
	if c.Imports == nil && len(c.Resources) == 0 && len(c.Modifications) == 0 {
		v.Add("conf", "must have imports, resources or modifications")
	}
	for i, r := range c.Resources {
		at := field("conf.resources", i)
		v = append(v, notEmpty(field(at, "name"), r.Name)...)
		v = append(v, notEmpty(field(at, "version"), r.Version)...)
		v = append(v, notEmpty(field(at, "resource"), r.Resource)...)
	}
	for i := range c.Modifications {
		v = append(v, c.Modifications[i].validate(field("conf.modifications", i))...)
	}
	return v
}

func notEmpty(path, s string) (v Violations) {
	if s == "" {
		v.Add(path, "must not be empty")
	}
	return v
}

func (m *Modification) validate(path string) (v Violations) {
	set := 0
	if c := m.Cluster; c != nil {
		set++
		at := field(path, "cluster")
		v = append(v, validateOperation(at, c.Operation, c.Value, wholeOperations)...)
		if c.Match != nil {
			v = append(v, noMatch(at, c.Operation)...)
			v = append(v, oneOf(field(at, "match.origin"), c.Match.Origin, Origins...)...)
		}
	}
	if l := m.Listener; l != nil {
		set++
		at := field(path, "listener")
		v = append(v, validateOperation(at, l.Operation, l.Value, wholeOperations)...)
		if l.Match != nil {
			v = append(v, noMatch(at, l.Operation)...)
			v = append(v, oneOf(field(at, "match.origin"), l.Match.Origin, Origins...)...)
			v = append(v, validateMatchTags(field(at, "match.tags"), l.Match.Tags)...)
		}
	}
	if f := m.NetworkFilter; f != nil {
		set++
		v = append(v, f.validate(field(path, "networkFilter"))...)
	}
	if f := m.HTTPFilter; f != nil {
		set++
		v = append(v, f.validate(field(path, "httpFilter"))...)
	}
	if h := m.VirtualHost; h != nil {
		set++
		at := field(path, "virtualHost")
		v = append(v, validateOperation(at, h.Operation, h.Value, wholeOperations)...)
		if h.Match != nil {
			v = append(v, oneOf(field(at, "match.origin"), h.Match.Origin, Origins...)...)
			if h.Operation == OpAdd && h.Match.Name != "" {
				v.Add(field(at, "match.name"), "must be left out for %s: what is added is in no virtual host", OpAdd)
			}
		}
	}
	if set != 1 {
		v.Add(path, "must have exactly one of cluster, listener, networkFilter, httpFilter and virtualHost, has %d", set)
	}
	return v
}

var (
	wholeOperations  = []string{OpAdd, OpRemove, OpPatch}
	filterOperations = []string{OpRemove, OpPatch, OpAddFirst, OpAddBefore, OpAddAfter, OpAddLast}
)

// validateOperation wants a value for what adds and patches, and none for what
// removes.
func validateOperation(path, operation, value string, allowed []string) (v Violations) {
	at := field(path, "operation")
	if operation == "" {
		v.Add(at, "must not be empty")
	}
	v = append(v, oneOf(at, operation, allowed...)...)
	switch {
	case !slices.Contains(allowed, operation):
	case operation == OpRemove && value != "":
		v.Add(field(path, "value"), "must be left out for %s", operation)
	case operation != OpRemove:
		v = append(v, notEmpty(field(path, "value"), value)...)
	}
	return v
}

// noMatch refuses a match for what is added as a whole.
func noMatch(path, operation string) (v Violations) {
	if operation == OpAdd {
		v.Add(field(path, "match"), "must be left out for %s: nothing is there to match", OpAdd)
	}
	return v
}

func (f *FilterModification) validate(path string) (v Violations) {
	v = append(v, validateOperation(path, f.Operation, f.Value, filterOperations)...)
	if f.Match != nil {
		v = append(v, oneOf(field(path, "match.origin"), f.Match.Origin, Origins...)...)
		v = append(v, validateMatchTags(field(path, "match.listenerTags"), f.Match.ListenerTags)...)
	}
	needs := []string{OpAddBefore, OpAddAfter, OpPatch}
	if slices.Contains(needs, f.Operation) && (f.Match == nil || f.Match.Name == "") {
		v.Add(field(path, "match.name"), "must be given for %s: it is the filter beside which, or at which, something changes", f.Operation)
	}
	return v
}

func validateMatchTags(path string, tags Tags) (v Violations) {
	for _, k := range sortedKeys(tags) {
		if !tagKey.MatchString(k) {
			v.Add(keyed(path, k), tagKeyRule)
		}
		if !selectorValue.MatchString(tags[k]) {
			v.Add(keyed(path, k), selectorValueRule)
		}
	}
	return v
}
