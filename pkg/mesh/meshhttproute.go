package mesh

// A MeshHTTPRoute says where requests go, by what they ask for.
type MeshHTTPRoute struct {
	Spec MeshHTTPRouteSpec `json:"spec"`
}

// A MeshHTTPRouteSpec is for what the proxies that it chooses call.
type MeshHTTPRouteSpec struct {
	TargetRef *TargetRef        `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	To        []MeshHTTPRouteTo `json:"to,omitempty"`
}

// A MeshHTTPRouteTo is for requests to one destination.
type MeshHTTPRouteTo struct {
	TargetRef *TargetRef          `json:"targetRef,omitempty"`
	Hostnames []string            `json:"hostnames,omitempty"` // of a gateway; none means all
	Rules     []MeshHTTPRouteRule `json:"rules,omitempty"`     // the most specific match counts
}

// A MeshHTTPRouteRule is for requests that one of its matches fits.
type MeshHTTPRouteRule struct {
	Matches []HTTPRouteMatch   `json:"matches,omitempty"` // none: every request
	Default *MeshHTTPRouteConf `json:"default,omitempty"`
}

// An HTTPRouteMatch fits where all of it does.
type HTTPRouteMatch struct {
	Path        *HTTPPathMatch    `json:"path,omitempty"`
	Method      string            `json:"method,omitempty"` // GET, HEAD, …
	QueryParams []HTTPQueryMatch  `json:"queryParams,omitempty"`
	Headers     []HTTPHeaderMatch `json:"headers,omitempty"`
}

// An HTTPPathMatch compares the path without its query.
type HTTPPathMatch struct {
	Type  string `json:"type,omitempty"` // Exact, PathPrefix, RegularExpression
	Value string `json:"value,omitempty"`
}

// An HTTPQueryMatch compares one parameter of the query.
type HTTPQueryMatch struct {
	Type  string `json:"type,omitempty"` // Exact, RegularExpression
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// An HTTPHeaderMatch compares one header.
type HTTPHeaderMatch struct {
	Type  string `json:"type,omitempty"` // Exact (default), Prefix, RegularExpression, Present, Absent
	Name  string `json:"name,omitempty"` // in lower case
	Value string `json:"value,omitempty"`
}

// A MeshHTTPRouteConf is what becomes of the requests.
type MeshHTTPRouteConf struct {
	Filters     []HTTPRouteFilter `json:"filters,omitempty"`     // in this order
	BackendRefs []BackendRef      `json:"backendRefs,omitempty"` // none: where the call went anyway
}

// An HTTPRouteFilter is the one field that its type names.
type HTTPRouteFilter struct {
	Type                   string           `json:"type,omitempty"` // the field, with a capital
	RequestHeaderModifier  *HeaderModifier  `json:"requestHeaderModifier,omitempty"`
	ResponseHeaderModifier *HeaderModifier  `json:"responseHeaderModifier,omitempty"`
	RequestRedirect        *RequestRedirect `json:"requestRedirect,omitempty"`
	URLRewrite             *URLRewrite      `json:"urlRewrite,omitempty"`
	RequestMirror          *RequestMirror   `json:"requestMirror,omitempty"`
}

// A RequestRedirect sends the client elsewhere.
type RequestRedirect struct {
	Scheme     string       `json:"scheme,omitempty"` // http, https
	Hostname   string       `json:"hostname,omitempty"`
	Path       *PathRewrite `json:"path,omitempty"`
	Port       uint32       `json:"port,omitempty"`
	StatusCode uint32       `json:"statusCode,omitempty"` // 301, 302 (default), 303, 307, 308
}

// A URLRewrite changes what is asked for.
type URLRewrite struct {
	Hostname              string       `json:"hostname,omitempty"`
	Path                  *PathRewrite `json:"path,omitempty"`
	HostToBackendHostname bool         `json:"hostToBackendHostname,omitempty"` // for gateways
}

// A PathRewrite is the one field that its type names.
type PathRewrite struct {
	Type               string  `json:"type,omitempty"` // ReplaceFullPath, ReplacePrefixMatch
	ReplaceFullPath    *string `json:"replaceFullPath,omitempty"`
	ReplacePrefixMatch *string `json:"replacePrefixMatch,omitempty"`
}

// A RequestMirror sends a copy of requests to another place.
type RequestMirror struct {
	Percentage IntOrString `json:"percentage,omitempty"` // of the requests; default 100
	BackendRef *BackendRef `json:"backendRef,omitempty"`
}
