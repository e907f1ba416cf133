package cp

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/mirror"
	"github.com/weft-mesh/weft/pkg/cp/replica"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// share finds out whether others may be on the store too, and puts a mirror
// before one that may be out of reach.
func (c *ControlPlane) share(s store.Keeper) {
	log := c.log.With("part", "store")
	c.sealed = sealed.Over(s, c.secrets, log)
	c.store = audit.Over(c.sealed, c.audit)
	c.newest = c.store
	c.board, _ = s.(store.Board)
	if d, ok := s.(mirror.Distant); ok {
		c.mirror = mirror.New(d)
		c.store = audit.Over(sealed.Over(c.mirror, c.secrets, log), c.audit)
	}
}

// group is this control plane among those on its store.
func (c *ControlPlane) group() *replica.Group {
	hostname, _ := os.Hostname()
	return replica.New(replica.Config{
		Board: c.board, Instance: c.instance,
		Self: func() replica.Replica {
			return replica.Replica{
				Hostname: hostname, Version: c.version, Hosts: c.ownAddresses(),
				Proxies: len(c.xds.Connected()), State: int64(c.publisher.Version()),
			}
		},
		Proxies: c.xds.Connected,
		Insight: c.publisher.KnownInsight,
		History: shared{c.history},
		Duties:  c.duties(),
		Log:     c.log.With("part", "replica"),
	})
}

// insight, knownInsight and online are the publisher's for proxies that have
// their stream here, and what another replica says of those that have not.
func (c *ControlPlane) insight(ctx context.Context, meshName, name string) (api.DataplaneInsight, error) {
	if in, ok := c.elsewhere(meshName, name); ok {
		return c.remembered(meshName, name, in), nil
	}
	in, err := c.publisher.Insight(ctx, meshName, name)
	return c.remembered(meshName, name, in), err
}

func (c *ControlPlane) knownInsight(meshName, name string) api.DataplaneInsight {
	in, ok := c.elsewhere(meshName, name)
	if !ok {
		in = c.publisher.KnownInsight(meshName, name)
	}
	return c.remembered(meshName, name, in)
}

func (c *ControlPlane) online(meshName, name string) bool {
	_, ok := c.elsewhere(meshName, name)
	return ok || c.publisher.Online(meshName, name)
}

func (c *ControlPlane) elsewhere(meshName, name string) (in api.DataplaneInsight, ok bool) {
	if c.board == nil || c.publisher.Online(meshName, name) {
		return in, false
	}
	return c.replicas.Insight(meshName, name)
}

// stale tells since when reads are answered from memory; zero: they are not.
func (c *ControlPlane) stale() time.Time {
	if m := c.mirror; m != nil {
		return m.Stale()
	}
	return time.Time{}
}

// openSight has agents handed on by a store that may be out of reach.
func (c *ControlPlane) openSight(s store.Keeper) {
	d, ok := s.(interface{ Doubtful() time.Time })
	if !ok {
		return
	}
	c.sight = &replica.Sight{Blind: d.Doubtful, Agents: c.xds.Lookers, Look: c.xds.Look, Log: c.log.With("part", "replica")}
}

func (c *ControlPlane) sightMetrics() []prometheus.Collector {
	if c.sight == nil {
		return nil
	}
	return c.sight.Metrics()
}

// seesWithin is how long the store may take to answer for this replica to say
// that it reaches it.
const seesWithin = 300 * time.Millisecond

// sees tells whether the store is reached, and was for a while: it is asked now,
// as it may have gone since it was heard last.
func (c *ControlPlane) sees(ctx context.Context) bool {
	if c.sight == nil {
		return true
	}
	if !c.sight.Settled(time.Now()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, seesWithin)
	defer cancel()
	_, err := c.newest.List(ctx, store.Query{Kind: mesh.MeshKind, Size: 1})
	return err == nil
}

// stateSent names what proxies are sent: by whom, and the store's version that
// it is of at most. Agents bring the version back, see abreast.
func (c *ControlPlane) stateSent() string {
	return c.instance + "@" + strconv.FormatInt(int64(c.publisher.Version()), 10)
}

// stateHeader is how an agent tells the version of what it has.
const stateHeader = "weft-state"

// abreastWithin is how long a replica that is behind makes an agent wait
// before it sends it on.
const abreastWithin = 1500 * time.Millisecond

// abreast sees to it that no proxy is given an older state than it has. What
// is newer than the store itself is of a store that was since restored: then
// there is nothing to wait for.
func (c *ControlPlane) abreast(ctx context.Context) error {
	var has mesh.Version
	in, _ := metadata.FromIncomingContext(ctx)
	for _, text := range in.Get(stateHeader) {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			has = max(has, mesh.Version(v))
		}
	}
	if has == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, abreastWithin, context.DeadlineExceeded)
	defer cancel()
	here, done := context.WithTimeout(ctx, 0)
	err := c.publisher.Abreast(here, has)
	if done(); err == nil {
		return nil
	}
	// Any list tells the store's version.
	page, err := c.newest.List(ctx, store.Query{Kind: mesh.MeshKind, Size: 1})
	if err == nil {
		err = c.publisher.Abreast(ctx, min(has, page.At))
	}
	if err != nil {
		return status.Errorf(codes.Unavailable, "this control plane knows version %d of the store and the proxy has %d: it catches up, meanwhile try another one", c.publisher.Version(), has)
	}
	return nil
}

func (c *ControlPlane) stateMetric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_state_version", Help: "The store's version that proxies are served of. Replicas that differ for long are apart.",
	}, func() float64 { return float64(c.publisher.Version()) })
}
