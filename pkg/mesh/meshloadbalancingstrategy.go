package mesh

// A MeshLoadBalancingStrategy says which endpoint of a destination is called.
type MeshLoadBalancingStrategy struct {
	Spec Outward[MeshLoadBalancingConf] `json:"spec"`
}

// A MeshLoadBalancingConf chooses first where, then whom.
type MeshLoadBalancingConf struct {
	LocalityAwareness *LocalityAwareness `json:"localityAwareness,omitempty"`
	LoadBalancer      *Balancer          `json:"loadBalancer,omitempty"`
	HashPolicies      []HashPolicy       `json:"hashPolicies,omitempty"` // for RingHash and Maglev
}

// LocalityAwareness prefers what is near.
type LocalityAwareness struct {
	Disabled  *bool              `json:"disabled,omitempty"`
	LocalZone *LocalZone         `json:"localZone,omitempty"`
	CrossZone *CrossZoneFailover `json:"crossZone,omitempty"`
}

// A LocalZone prefers endpoints that share tags with the caller.
type LocalZone struct {
	AffinityTags []AffinityTag `json:"affinityTags,omitempty"` // the first weighs most by default
}

// An AffinityTag is one such tag.
type AffinityTag struct {
	Key    string  `json:"key,omitempty"`
	Weight *uint32 `json:"weight,omitempty"`
}

// A CrossZoneFailover says to which zones calls go when those here fail.
type CrossZoneFailover struct {
	Failover          []Failover         `json:"failover,omitempty"` // the first that fits
	FailoverThreshold *FailoverThreshold `json:"failoverThreshold,omitempty"`
}

// A Failover is for callers in some zones.
type Failover struct {
	From *FailoverFrom `json:"from,omitempty"` // none: every zone
	To   *FailoverTo   `json:"to,omitempty"`
}

// FailoverFrom names zones of callers.
type FailoverFrom struct {
	Zones []string `json:"zones,omitempty"`
}

// FailoverTo names zones that are called.
type FailoverTo struct {
	Type  string   `json:"type,omitempty"`  // None, Only, Any, AnyExcept
	Zones []string `json:"zones,omitempty"` // for Only and AnyExcept
}

// A FailoverThreshold is how few endpoints here must be well.
type FailoverThreshold struct {
	Percentage IntOrString `json:"percentage,omitempty"` // default 50
}

// A Balancer is the one field that its type names.
type Balancer struct {
	Type         string          `json:"type,omitempty"` // RoundRobin, LeastRequest, RingHash, Random, Maglev
	LeastRequest *LeastRequestLB `json:"leastRequest,omitempty"`
	RingHash     *RingHashLB     `json:"ringHash,omitempty"`
	Maglev       *MaglevLB       `json:"maglev,omitempty"`
	RoundRobin   *struct{}       `json:"roundRobin,omitempty"`
	Random       *struct{}       `json:"random,omitempty"`
}

// LeastRequestLB takes the least busy of some random endpoints.
type LeastRequestLB struct {
	ChoiceCount       *uint32     `json:"choiceCount,omitempty"`       // of how many; default 2
	ActiveRequestBias IntOrString `json:"activeRequestBias,omitempty"` // default 1
}

// RingHashLB takes the same endpoint for the same caller.
type RingHashLB struct {
	HashFunction string       `json:"hashFunction,omitempty"` // XXHash (default), MurmurHash2
	MinRingSize  *uint32      `json:"minRingSize,omitempty"`  // default 1024
	MaxRingSize  *uint32      `json:"maxRingSize,omitempty"`  // default 8388608, which is also the most
	HashPolicies []HashPolicy `json:"hashPolicies,omitempty"` // the older place of hashPolicies
}

// MaglevLB takes the same endpoint for the same caller, by a table.
type MaglevLB struct {
	TableSize    *uint32      `json:"tableSize,omitempty"`    // a prime; default 65537
	HashPolicies []HashPolicy `json:"hashPolicies,omitempty"` // the older place of hashPolicies
}

// A HashPolicy says what makes callers the same: the one field that its type
// names.
type HashPolicy struct {
	Type           string              `json:"type,omitempty"`     // Header, Cookie, Connection, SourceIP, QueryParameter, FilterState
	Terminal       *bool               `json:"terminal,omitempty"` // what follows counts only where this is not there
	Header         *HashHeader         `json:"header,omitempty"`
	Cookie         *HashCookie         `json:"cookie,omitempty"`
	Connection     *HashConnection     `json:"connection,omitempty"`
	QueryParameter *HashQueryParameter `json:"queryParameter,omitempty"`
	FilterState    *HashFilterState    `json:"filterState,omitempty"`
}

// A HashHeader is a header of the request.
type HashHeader struct {
	Name string `json:"name,omitempty"`
}

// A HashCookie is a cookie, made where it is not there and has a TTL.
type HashCookie struct {
	Name string `json:"name,omitempty"`
	TTL  string `json:"ttl,omitempty"` // a Go duration
	Path string `json:"path,omitempty"`
}

// A HashConnection is where the caller connects from.
type HashConnection struct {
	SourceIP *bool `json:"sourceIP,omitempty"`
}

// A HashQueryParameter is a parameter of the query.
type HashQueryParameter struct {
	Name string `json:"name,omitempty"`
}

// A HashFilterState is what another filter noted.
type HashFilterState struct {
	Key string `json:"key,omitempty"`
}
