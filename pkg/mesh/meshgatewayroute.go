package mesh

// A MeshGatewayRoute says where what comes in at a MeshGateway goes.
type MeshGatewayRoute struct {
	Selectors []Selector            `json:"selectors,omitempty"`
	Conf      *MeshGatewayRouteConf `json:"conf,omitempty"`
}

// A MeshGatewayRouteConf is one of its fields.
type MeshGatewayRouteConf struct {
	TCP  *GatewayTCPRoute  `json:"tcp,omitempty"`
	HTTP *GatewayHTTPRoute `json:"http,omitempty"`
}

// A GatewayTCPRoute is for connections.
type GatewayTCPRoute struct {
	Rules []GatewayTCPRule `json:"rules,omitempty"`
}

// A GatewayTCPRule is for all of them.
type GatewayTCPRule struct {
	Backends []GatewayBackend `json:"backends,omitempty"`
}

// A GatewayBackend gets Weight parts of the sum of all weights.
type GatewayBackend struct {
	Weight      *uint32 `json:"weight,omitempty"` // default 1
	Destination Tags    `json:"destination,omitempty"`
}

// A GatewayHTTPRoute is for requests.
type GatewayHTTPRoute struct {
	Hostnames []string          `json:"hostnames,omitempty"` // none: the listener's
	Rules     []GatewayHTTPRule `json:"rules,omitempty"`
}

// A GatewayHTTPRule is for requests that one of its matches fits.
type GatewayHTTPRule struct {
	Matches  []GatewayHTTPMatch  `json:"matches,omitempty"`
	Filters  []GatewayHTTPFilter `json:"filters,omitempty"`
	Backends []GatewayBackend    `json:"backends,omitempty"`
}

// A GatewayHTTPMatch fits where all of it does.
type GatewayHTTPMatch struct {
	Path            *GatewayPathMatch    `json:"path,omitempty"`
	Method          string               `json:"method,omitempty"`
	Headers         []GatewayHeaderMatch `json:"headers,omitempty"`
	QueryParameters []GatewayQueryMatch  `json:"queryParameters,omitempty"`
}

// A GatewayPathMatch compares the path.
type GatewayPathMatch struct {
	Match string `json:"match,omitempty"` // EXACT (default), PREFIX, REGEX
	Value string `json:"value,omitempty"`
}

// A GatewayHeaderMatch compares one header.
type GatewayHeaderMatch struct {
	Match string `json:"match,omitempty"` // EXACT (default), REGEX, ABSENT, PRESENT
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// A GatewayQueryMatch compares one parameter of the query.
type GatewayQueryMatch struct {
	Match string `json:"match,omitempty"` // EXACT (default), REGEX
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// A GatewayHTTPFilter is one of its fields.
type GatewayHTTPFilter struct {
	RequestHeader  *HeaderModifier  `json:"requestHeader,omitempty"`
	ResponseHeader *HeaderModifier  `json:"responseHeader,omitempty"`
	Mirror         *GatewayMirror   `json:"mirror,omitempty"`
	Redirect       *GatewayRedirect `json:"redirect,omitempty"`
	Rewrite        *GatewayRewrite  `json:"rewrite,omitempty"`
}

// A GatewayMirror sends a copy of requests to another place.
type GatewayMirror struct {
	Backend    *GatewayBackend `json:"backend,omitempty"`
	Percentage *float64        `json:"percentage,omitempty"`
}

// A GatewayRedirect sends the client elsewhere.
type GatewayRedirect struct {
	Scheme     string          `json:"scheme,omitempty"`
	Hostname   string          `json:"hostname,omitempty"`
	Port       uint32          `json:"port,omitempty"`
	StatusCode uint32          `json:"statusCode,omitempty"` // 300 to 308
	Path       *GatewayRewrite `json:"path,omitempty"`
}

// A GatewayRewrite changes what is asked for.
type GatewayRewrite struct {
	ReplaceFull           *string `json:"replaceFull,omitempty"`
	ReplacePrefixMatch    *string `json:"replacePrefixMatch,omitempty"`
	HostToBackendHostname bool    `json:"hostToBackendHostname,omitempty"`
}
