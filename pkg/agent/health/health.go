// Package health asks a workload of this host whether it can be called.
//
// It asks the workload itself, not through its proxy, and tells only changes
// that have lasted for as many answers as its thresholds say.
package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// What a Probe asks.
const (
	TCP  = "tcp"  // whether a connection can be made
	HTTP = "http" // whether a page is answered with 2xx or 3xx
	GRPC = "grpc" // grpc.health.v1.Health/Check
)

// A Probe asks one address again and again.
type Probe struct {
	Kind    string // TCP, HTTP or GRPC
	Path    string // of HTTP
	Service string // of GRPC; "" is the server as a whole
	Address string // host:port
	// Interval is from one question to the next, Timeout how long one may
	// take.
	Interval, Timeout time.Duration
	// Unhealthy is how many bad answers in a row make a workload that was well
	// unwell, Healthy how many good ones the other way round. At least 1.
	Unhealthy, Healthy int
	// Dial connects to the workload.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Parse reads "tcp", "http:/path", "grpc" and "grpc:service".
func Parse(text string) (p Probe, err error) {
	kind, rest, has := strings.Cut(text, ":")
	p.Kind = kind
	switch {
	case kind == TCP && !has:
	case kind == HTTP && strings.HasPrefix(rest, "/"):
		p.Path = rest
	case kind == GRPC && (!has || rest != ""):
		p.Service = rest
	default:
		return p, fmt.Errorf("%q is none of tcp, http:/PATH, grpc and grpc:SERVICE", text)
	}
	return p, nil
}

// String says what is asked, how often, and by what it is judged.
func (p Probe) String() string {
	what := p.Kind
	switch {
	case p.Path != "":
		what += ":" + p.Path
	case p.Service != "":
		what += ":" + p.Service
	}
	return fmt.Sprintf("%s at %s every %s within %s, %d bad or %d good answers in a row turn it", what, p.Address, p.Interval, p.Timeout, p.Unhealthy, p.Healthy)
}

// A Verdict is how the workload is since some time.
type Verdict struct {
	Well  bool      `json:"well"`
	Why   string    `json:"why,omitempty"` // it is not
	Since time.Time `json:"since"`
}

// Run asks until ctx ends, and tells the first verdict and each that differs
// from the one before. The first answer is a verdict, whatever the thresholds.
func (p Probe) Run(ctx context.Context, tell func(Verdict)) {
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	var s series
	for {
		err := p.Ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.takes(err, p.Healthy, p.Unhealthy) {
			v := Verdict{Well: s.well, Since: time.Now()}
			if err != nil {
				v.Why = err.Error()
			}
			tell(v)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A series is what was answered until now.
type series struct {
	began, well bool
	others      int // in a row that speak against well
}

// takes notes an answer, and tells whether the verdict is another one now.
func (s *series) takes(err error, healthy, unhealthy int) bool {
	if !s.began {
		s.began, s.well = true, err == nil
		return true
	}
	if (err == nil) == s.well {
		s.others = 0
		return false
	}
	s.others++
	if s.well && s.others < unhealthy || !s.well && s.others < healthy {
		return false
	}
	s.well, s.others = !s.well, 0
	return true
}

// Ask asks once, and returns what speaks against calling the workload.
func (p Probe) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var err error
	switch p.Kind {
	case HTTP:
		err = p.page(ctx)
	case GRPC:
		err = p.check(ctx)
	default:
		var c net.Conn
		if c, err = p.Dial(ctx, "tcp", p.Address); err == nil {
			_ = c.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("probe %s of %s: %w", p.Kind, p.Address, err)
	}
	return nil
}

func (p Probe) page(ctx context.Context) error {
	client := http.Client{
		Transport:     &http.Transport{DialContext: p.Dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Address+p.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "weft-agent")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answers %s", p.Path, resp.Status)
	}
	return nil
}

func (p Probe) check(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+p.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return p.Dial(ctx, "tcp", address) }))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: p.Service})
	if err != nil {
		return err
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it says %s", answer.Status)
	}
	return nil
}
