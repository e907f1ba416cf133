package publish

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Insight tells how the proxy of a dataplane fares. For one that is not
// connected it plans anew, to tell what it would be warned of. It fails with
// store.ErrNotFound for a dataplane that there is not.
func (p *Publisher) Insight(ctx context.Context, meshName, name string) (api.DataplaneInsight, error) {
	in := p.KnownInsight(meshName, name)
	if in.Weft != nil && len(in.Weft.Refused) == 0 {
		return in, nil
	}
	id := proxy.ID{Mesh: meshName, Name: name}
	m, err := p.find(ctx, id)
	if err != nil {
		return in, err
	}
	o, err := p.make(m, snapshot.NewView(m), id)
	if in.Weft != nil {
		for i, r := range in.Weft.Refused {
			in.Weft.Refused[i].Origins = origins(o.config, r.Type, r.Resources)
		}
		return in, nil
	}
	if errors.Is(err, xds.ErrUnknown) {
		return in, err
	}
	in.Weft = findings(o.warnings, "")
	if err != nil {
		in.Weft.Problem = err.Error()
	}
	return in, nil
}

// KnownInsight is Insight of what is at hand: it plans nothing, so a list of a
// thousand costs no plan. The warnings are those of the plan that a connected
// proxy was last given; of others there is no Weft.
func (p *Publisher) KnownInsight(meshName, name string) (in api.DataplaneInsight) {
	id := proxy.ID{Mesh: meshName, Name: name}
	st, connected := p.stream.Status(id)
	if connected {
		in.Subscriptions = []api.Subscription{Subscription(st)}
	}
	rec := p.records.find(id)
	if rec == nil || !connected {
		return in
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.planned {
		return in
	}
	in.Weft = findings(rec.warnings, rec.failed)
	for _, r := range refusals(st) {
		in.Weft.Refused = append(in.Weft.Refused, api.Refusal{Type: r.Type, Resources: r.Resources, Reason: r.Reason, At: r.At})
	}
	return in
}

func findings(warnings []proxy.Warning, problem string) *api.Findings {
	f := &api.Findings{Problem: problem}
	for _, w := range warnings {
		f.Warnings = append(f.Warnings, api.Finding(w))
	}
	return f
}

// Subscription says in Kuma's words what is known of a stream. Nothing but its
// beginning tells two streams of a proxy apart.
func Subscription(st xds.Status) api.Subscription {
	s := api.Subscription{ID: st.Since.Format(time.RFC3339Nano), ConnectTime: st.Since}
	named := map[string]*api.Responses{"clusters": &s.Status.CDS, "endpoints": &s.Status.EDS, "listeners": &s.Status.LDS, "routes": &s.Status.RDS}
	for _, t := range st.Types {
		if n := named[t.Type]; n != nil {
			*n = api.Responses{Sent: t.Responses, Acknowledged: t.Taken, Rejected: t.Refusals}
		}
		s.Status.Total.Sent += t.Responses
		s.Status.Total.Acknowledged += t.Taken
		s.Status.Total.Rejected += t.Refusals
		last := []time.Time{t.SentAt, t.AckedAt}
		if t.Refused != nil {
			last = append(last, t.Refused.At)
		}
		for _, at := range last {
			if at.After(s.Status.LastUpdateTime) {
				s.Status.LastUpdateTime = at
			}
		}
	}
	if st.Agent != "" || st.Envoy != "" {
		s.Version = &api.ProxyVersion{KumaDP: version(st.Agent), Envoy: version(st.Envoy)}
	}
	return s
}

func version(text string) *api.Version {
	if text == "" {
		return nil
	}
	return &api.Version{Version: text}
}
