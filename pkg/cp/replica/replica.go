// Package replica is what one control plane knows of the others that share its
// store: who is there, who leads, and how proxies fare whose streams are
// theirs.
//
// Replicas speak through the store's board alone and never to each other. A
// control plane whose store has no board is alone, and leads.
package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	// beatEvery is how often a replica says that it is there, and reads what
	// others say.
	beatEvery = time.Second
	// silence is after how long a replica is taken for gone.
	silence = 4 * time.Second
	// forgotten is after how long what a replica that is gone has said is
	// forgotten.
	forgotten = time.Minute
)

// maxNews is how many insights are told in one beat: after a change that
// concerns everybody the others follow in the next ones.
const maxNews = 2000

// Topics of notes.
const (
	aboutReplica = "replica"
	aboutInsight = "insight"
)

// A Replica is one control plane, as it tells of itself.
type Replica struct {
	Instance string    `json:"instance"`
	Hostname string    `json:"hostname"`
	Version  string    `json:"version"`
	Hosts    []string  `json:"hosts,omitempty"` // where hosts reach it, host:port
	Proxies  int       `json:"proxies"`         // that have a stream to it
	State    int64     `json:"state"`           // the store's version that it serves
	Leader   bool      `json:"leader,omitempty"`
	Seen     time.Time `json:"-"`
}

// Config is what a Group needs.
type Config struct {
	Board    store.Board // nil: this control plane is alone
	Instance string
	// Self is this replica as of now; Leader and Instance are set here.
	Self func() Replica
	// Proxies are those that have a stream to this replica, Insight is how one
	// of them fares.
	Proxies func() []proxy.ID
	Insight func(mesh, name string) mesh.DataplaneInsight
	// History is what is told beside how proxies fare now; nil: nothing is.
	History History
	// Duties are those of the leader.
	Duties []Duty
	Log    *slog.Logger // nil: slog.Default
}

// A History is what replicas remember together.
type History interface {
	// Tell returns notes that were not told yet, so many at most. Again has it
	// tell everything anew.
	Tell(most int) []store.Note
	Again()
	// Hear takes what another replica tells.
	Hear(n store.Note) error
}

// aboutHistory is the topic of what a History tells.
const aboutHistory = "history"

// A Group is this replica among all.
type Group struct {
	Config
	metrics metrics

	mu       sync.Mutex
	moment   store.Moment // of the board's clock, at the last beat that succeeded
	beat     time.Time    // when that was, by our clock
	others   map[string]Replica
	insights map[proxy.ID]map[string]insight // by replica
	until    time.Time                       // how long this replica leads for certain
	epoch    int64

	posted map[proxy.ID]mark // of this replica's own; of beating alone
}

// An insight is how a proxy fares, as a replica says.
type insight struct {
	mesh.DataplaneInsight
	posted time.Time
}

// New returns a group that Run joins.
func New(c Config) *Group {
	g := &Group{
		Config: c, others: map[string]Replica{},
		insights: map[proxy.ID]map[string]insight{}, posted: map[proxy.ID]mark{},
	}
	if g.Log == nil {
		g.Log = slog.Default()
	}
	g.metrics = newMetrics(g)
	return g
}

// Run tells and reads until ctx ends.
func (g *Group) Run(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return g.leading(ctx) })
	if g.Board != nil {
		work.Go(func() error { return g.beating(ctx) })
	}
	return work.Wait()
}

// Replicas are those that are there, this one first.
func (g *Group) Replicas() []Replica {
	all := []Replica{g.self()}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, r := range g.others {
		if now.Sub(r.Seen) < silence {
			all = append(all, r)
		}
	}
	slices.SortFunc(all[1:], func(a, b Replica) int { return strings.Compare(a.Instance, b.Instance) })
	return all
}

func (g *Group) self() Replica {
	r := g.Self()
	r.Instance, r.Leader, r.Seen = g.Instance, g.Leader(), time.Now()
	return r
}

// now is the board's clock; the caller holds mu.
func (g *Group) now() time.Time { return g.moment.Now.Add(time.Since(g.beat)) }

// Insight is how a proxy fares that has its stream elsewhere; false where no
// other replica that is there has it.
func (g *Group) Insight(meshName, name string) (mesh.DataplaneInsight, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var best insight
	var at time.Time
	for replica, in := range g.insights[proxy.ID{Mesh: meshName, Name: name}] {
		if g.now().Sub(g.others[replica].Seen) >= silence {
			continue
		}
		if began := connected(in.DataplaneInsight); best.posted.IsZero() || began.After(at) {
			best, at = in, began
		}
	}
	return best.DataplaneInsight, !best.posted.IsZero()
}

// connected is since when the proxy has a stream; zero: it has none.
func connected(in mesh.DataplaneInsight) (since time.Time) {
	for _, s := range in.Subscriptions {
		if s.ConnectTime.After(since) {
			since = s.ConnectTime
		}
	}
	return since
}

// beating beats until ctx ends.
func (g *Group) beating(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	failing := false
	for {
		err := g.exchange(ctx)
		if err != nil && ctx.Err() == nil {
			g.metrics.failed.Inc()
			if !failing {
				g.Log.Warn("other replicas are not heard of", "error", err)
			}
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// exchange posts what is new here and reads what is new elsewhere.
func (g *Group) exchange(ctx context.Context) error {
	notes, marks := g.news()
	own, err := json.Marshal(g.self())
	if err != nil {
		return err
	}
	notes = append(notes, store.Note{Topic: aboutReplica, Name: g.Instance, Body: own})
	if g.History != nil {
		for _, n := range g.History.Tell(maxNews) {
			n.Topic = aboutHistory
			notes = append(notes, n)
		}
	}
	if err := g.Board.Post(ctx, g.Instance, notes); err != nil {
		if g.History != nil {
			g.History.Again()
		}
		return err
	}
	g.posted = marks
	g.mu.Lock()
	since, life := g.moment.Now, g.moment.Life
	g.mu.Unlock()
	said, at, err := g.Board.Notes(ctx, since)
	if err != nil {
		return err
	}
	if at.Life != life {
		if life != "" { // what was on the board may be gone
			g.Log.Info("the store began anew: what this replica knows is told again")
		}
		g.posted = map[proxy.ID]mark{}
		if g.History != nil && life != "" {
			g.History.Again()
		}
		if !since.IsZero() {
			if said, at, err = g.Board.Notes(ctx, time.Time{}); err != nil {
				return err
			}
		}
		g.mu.Lock()
		clear(g.insights)
		clear(g.others)
		g.mu.Unlock()
	}
	return g.read(said, at)
}

// read takes what others said.
func (g *Group) read(notes []store.Note, at store.Moment) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moment, g.beat = at, time.Now()
	for _, n := range notes {
		if n.Replica == g.Instance {
			continue
		}
		var err error
		switch n.Topic {
		case aboutReplica:
			var r Replica
			if err = json.Unmarshal(n.Body, &r); err == nil {
				r.Seen = n.Posted
				g.others[n.Replica] = r
			}
		case aboutInsight:
			err = g.readInsight(n)
		case aboutHistory:
			if g.History != nil && len(n.Body) > 0 {
				err = g.History.Hear(n)
			}
		}
		if err != nil {
			return fmt.Errorf("note %s %s of replica %s: %w", n.Topic, n.Name, n.Replica, err)
		}
	}
	for name, r := range g.others {
		if g.now().Sub(r.Seen) > forgotten {
			delete(g.others, name)
			for _, said := range g.insights {
				delete(said, name)
			}
		}
	}
	return nil
}

func (g *Group) readInsight(n store.Note) error {
	meshName, name, _ := strings.Cut(n.Name, ".")
	id := proxy.ID{Mesh: meshName, Name: name}
	if len(n.Body) == 0 {
		if delete(g.insights[id], n.Replica); len(g.insights[id]) == 0 {
			delete(g.insights, id)
		}
		return nil
	}
	in := insight{posted: n.Posted}
	if err := json.Unmarshal(n.Body, &in.DataplaneInsight); err != nil {
		return err
	}
	if g.insights[id] == nil {
		g.insights[id] = map[string]insight{}
	}
	g.insights[id][n.Replica] = in
	return nil
}

// A mark tells cheaply whether an insight is another one.
type mark struct {
	since, updated time.Time
	total          mesh.Responses
	warnings       int
	refused        int
	problem        string
}

func markOf(in mesh.DataplaneInsight) (m mark) {
	for _, s := range in.Subscriptions {
		m.since, m.updated, m.total = s.ConnectTime, s.Status.LastUpdateTime, s.Status.Total
	}
	if in.Weft != nil {
		m.warnings, m.refused, m.problem = len(in.Weft.Warnings), len(in.Weft.Refused), in.Weft.Problem
	}
	return m
}

// news are the notes about proxies that differ from what was posted, and what
// is posted with them.
func (g *Group) news() (notes []store.Note, marks map[proxy.ID]mark) {
	marks = map[proxy.ID]mark{}
	for _, id := range g.Proxies() {
		in := g.Config.Insight(id.Mesh, id.Name)
		if len(in.Subscriptions) == 0 {
			continue // it left meanwhile
		}
		now, before := markOf(in), g.posted[id]
		if now == before || len(notes) >= maxNews {
			if before != (mark{}) {
				marks[id] = before
			}
			continue
		}
		marks[id] = now
		for i := range in.Subscriptions {
			in.Subscriptions[i].ControlPlaneInstanceID = g.Instance
		}
		body, err := json.Marshal(in)
		if err != nil {
			g.Log.Error("insight cannot be told", "proxy", id, "error", err)
			continue
		}
		notes = append(notes, store.Note{Topic: aboutInsight, Name: id.String(), Body: body})
	}
	for id := range g.posted {
		if _, there := marks[id]; !there {
			notes = append(notes, store.Note{Topic: aboutInsight, Name: id.String()})
		}
	}
	return notes, marks
}
