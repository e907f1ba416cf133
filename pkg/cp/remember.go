package cp

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/history"
	"github.com/weft-mesh/weft/pkg/cp/publish"
	"github.com/weft-mesh/weft/pkg/cp/replica"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	// rememberEvery is how late what is remembered of proxies reaches its file.
	rememberEvery = 2 * time.Second
	// forgetEvery is how often what is remembered of dataplanes that are gone is
	// dropped.
	forgetEvery = 10 * time.Minute
	// maxStreams are told of one proxy, as with Kuma.
	maxStreams = 2
)

// openHistory has what is remembered of proxies outlive this process. A file that
// cannot be written costs no more than that.
func (c *ControlPlane) openHistory() {
	c.history = history.New(c.board != nil)
	if err := c.history.Open(filepath.Join(c.cfg.DataDir, "insights.jsonl"), c.log.With("part", "history")); err != nil {
		c.log.Warn("what is remembered of proxies will not outlive this process", "error", err)
	}
}

func (c *ControlPlane) came(id proxy.ID, st xds.Status) { c.history.Began(id, c.subscription(st)) }

func (c *ControlPlane) left(id proxy.ID, st xds.Status) {
	s := c.subscription(st)
	s.DisconnectTime = time.Now().UTC()
	c.history.Ended(id, s)
}

func (c *ControlPlane) subscription(st xds.Status) mesh.Subscription {
	s := publish.Subscription(st)
	s.ControlPlaneInstanceID = c.instance
	return s
}

// remember keeps the file of what is remembered until ctx ends.
func (c *ControlPlane) remember(ctx context.Context) error {
	flush, forget := time.NewTicker(rememberEvery), time.NewTicker(forgetEvery)
	defer flush.Stop()
	defer forget.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forget.C:
			if s := c.publisher.State(); s != nil {
				c.history.Forget(func(id proxy.ID) bool {
					m := s.Mesh(id.Mesh)
					return m == nil || m.Dataplane(id.Name) == nil
				})
			}
		case <-flush.C:
			err := c.history.Flush()
			if err != nil && !failing {
				c.log.Warn("what is remembered of proxies cannot be written", "error", err)
			}
			failing = err != nil
		}
	}
}

// remembered adds to how a proxy fares now how it fared before.
func (c *ControlPlane) remembered(meshName, name string, in api.DataplaneInsight) api.DataplaneInsight {
	for i := range in.Subscriptions {
		if in.Subscriptions[i].ControlPlaneInstanceID == "" {
			in.Subscriptions[i].ControlPlaneInstanceID = c.instance
		}
	}
	s := c.publisher.State()
	if s == nil || s.Mesh(meshName) == nil {
		return in
	}
	dp := s.Mesh(meshName).Dataplane(name)
	if dp == nil {
		return in
	}
	r := c.history.Of(proxy.ID{Mesh: meshName, Name: name}, dp.Meta.Created, c.there)
	all := slices.Concat(r.Past, in.Subscriptions)
	in.Subscriptions = all[max(0, len(all)-maxStreams):]
	if s.Mesh(meshName).Spec().Backend() != nil {
		in.MTLS = r.MTLS
	}
	return in
}

// there tells whether a control plane of this store is there.
func (c *ControlPlane) there(instance string) bool {
	return instance == c.instance || c.board != nil && slices.ContainsFunc(c.replicas.Replicas(), func(r replica.Replica) bool { return r.Instance == instance })
}

// shared is what is remembered, as notes between replicas.
type shared struct{ *history.Keeper }

func (s shared) Tell(most int) (notes []store.Note) {
	for id, r := range s.News(most) {
		if body, err := json.Marshal(r); err == nil {
			notes = append(notes, store.Note{Name: id.String(), Body: body})
		}
	}
	return notes
}

func (s shared) Hear(n store.Note) error {
	var r history.Record
	if err := json.Unmarshal(n.Body, &r); err != nil {
		return err
	}
	meshName, name, _ := strings.Cut(n.Name, ".")
	s.Merge(proxy.ID{Mesh: meshName, Name: name}, r)
	return nil
}
