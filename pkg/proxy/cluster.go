package proxy

// A Cluster is a set of endpoints that are called alike. Its endpoints travel
// in a lane of their own, unless they are outside of the mesh.
type Cluster struct {
	Name           string        `json:"name"`
	Service        string        `json:"service"`
	Endpoints      string        `json:"endpoints,omitempty"` // under which name they travel; "": the cluster's
	External       *External     `json:"external,omitempty"`  // nil: inside
	ConnectTimeout Duration      `json:"connectTimeout"`
	TimeoutsFrom   Origin        `json:"timeoutsFrom,omitzero"`
	HTTP2          bool          `json:"http2,omitempty"`
	HTTPIdle       Duration      `json:"httpIdle,omitzero"` // ends a connection without requests; 0: no limit
	TLS            *PeerTLS      `json:"tls,omitempty"`     // nil: plain
	LoadBalancer   *LoadBalancer `json:"loadBalancer,omitempty"`
	HealthCheck    *HealthCheck  `json:"healthCheck,omitempty"`
	Outlier        *Outlier      `json:"outlier,omitempty"`
	Limits         *Limits       `json:"limits,omitempty"` // nil: no limits
}

// The ways to choose among endpoints.
const (
	RoundRobin   = "roundRobin"
	LeastRequest = "leastRequest"
	RingHash     = "ringHash"
	Random       = "random"
	Maglev       = "maglev"
)

// A LoadBalancer chooses among the endpoints of a cluster; nil is RoundRobin.
type LoadBalancer struct {
	From   Origin `json:"from,omitzero"`
	Policy string `json:"policy"`
	// Choices is among how many random endpoints LeastRequest takes the one
	// with the fewest requests; 0 the proxy's default of 2.
	Choices uint32 `json:"choices,omitempty"`
	// Of RingHash: "XX_HASH" (also where it is "") or "MURMUR_HASH_2", and the
	// number of places on the ring, 0 the proxy's default.
	Hash    string `json:"hash,omitempty"`
	MinRing uint64 `json:"minRing,omitempty"`
	MaxRing uint64 `json:"maxRing,omitempty"`
}

// A HealthCheck asks every endpoint, again and again, whether it is well.
// With neither TCP nor HTTP it is enough that an endpoint takes a connection.
type HealthCheck struct {
	From          Origin   `json:"from,omitzero"`
	Interval      Duration `json:"interval"`
	Timeout       Duration `json:"timeout"`
	Unhealthy     uint32   `json:"unhealthy"` // so many failures in a row
	Healthy       uint32   `json:"healthy"`   // so many successes in a row
	InitialJitter Duration `json:"initialJitter,omitzero"`
	Jitter        Duration `json:"jitter,omitzero"`
	JitterPercent uint32   `json:"jitterPercent,omitempty"`
	NoTraffic     Duration `json:"noTraffic,omitzero"` // the interval of a cluster nobody called; 0 the proxy's default of 60s
	// Panic is the percentage of healthy endpoints below which health is not
	// looked at any more; nil the proxy's default of 50.
	Panic       *float64   `json:"panic,omitempty"`
	FailOnPanic bool       `json:"failOnPanic,omitempty"` // fail everything instead
	EventLog    string     `json:"eventLog,omitempty"`    // a file on the host
	LogFailures bool       `json:"logFailures,omitempty"` // every one, not just the first
	Reconnect   bool       `json:"reconnect,omitempty"`   // a connection for every check
	TCP         *TCPCheck  `json:"tcp,omitempty"`
	HTTP        *HTTPCheck `json:"http,omitempty"`
}

// A TCPCheck sends bytes and wants to find all of Receive, in order, in what
// comes back.
type TCPCheck struct {
	Send    []byte   `json:"send,omitempty"`
	Receive [][]byte `json:"receive,omitempty"`
}

// An HTTPCheck gets a path.
type HTTPCheck struct {
	Path     string   `json:"path"`
	Host     string   `json:"host,omitempty"` // "": the cluster's name
	HTTP2    bool     `json:"http2,omitempty"`
	Headers  []Header `json:"headers,omitempty"`
	Statuses []uint32 `json:"statuses,omitempty"` // sorted; none: 200
}

// An Outlier takes endpoints out that keep failing, for a while that grows
// each time. A detector that is nil is off.
type Outlier struct {
	From         Origin     `json:"from,omitzero"`
	Interval     Duration   `json:"interval"` // between looks at all endpoints
	BaseEjection Duration   `json:"baseEjection"`
	MaxPercent   uint32     `json:"maxPercent"`           // of the endpoints; one is always allowed
	SplitLocal   bool       `json:"splitLocal,omitempty"` // count failures on this side by themselves
	Errors       *Detector  `json:"errors,omitempty"`     // any 5xx
	Gateway      *Detector  `json:"gateway,omitempty"`    // 502, 503, 504
	Local        *Detector  `json:"local,omitempty"`      // no connection, no answer; needs SplitLocal
	Deviation    *Deviation `json:"deviation,omitempty"`
	Failure      *Failure   `json:"failure,omitempty"`
}

// A Detector acts on failures in a row.
type Detector struct {
	Consecutive uint32 `json:"consecutive"`
}

// A Deviation acts on an endpoint whose success rate is Factor standard
// deviations below the mean.
type Deviation struct {
	Requests uint32  `json:"requests"` // an endpoint counts with so many in an interval
	Hosts    uint32  `json:"hosts"`    // so many must count
	Factor   float64 `json:"factor"`
}

// A Failure acts on an endpoint of which at least Threshold percent fail.
type Failure struct {
	Requests  uint32 `json:"requests"` // as in Deviation
	Hosts     uint32 `json:"hosts"`
	Threshold uint32 `json:"threshold"`
}

// Limits are what a proxy has under way to a cluster at most.
type Limits struct {
	From        Origin `json:"from,omitzero"`
	Connections uint32 `json:"connections"`
	Pending     uint32 `json:"pending"` // requests that wait for a connection
	Requests    uint32 `json:"requests"`
	Retries     uint32 `json:"retries"`
}
