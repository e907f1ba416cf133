package publish

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// stages are what can be looked at, in the order of the pipeline.
var stages = []struct {
	name string
	show func(p *Publisher, m *snapshot.Mesh, id proxy.ID) ([]byte, error)
}{
	{"resource", (*Publisher).showResource},
	{"plan", (*Publisher).showPlan},
	{"render", (*Publisher).showRender},
	{"stream", (*Publisher).showStream},
}

// Stages lists what Stage can show.
func Stages() (names []string) {
	for _, s := range stages {
		names = append(names, s.name)
	}
	return names
}

// Stage shows as YAML what one stage makes of a dataplane, connected or not.
// It fails with mesh.ErrInvalid for a stage that there is not, and with
// store.ErrNotFound for a dataplane that there is not.
func (p *Publisher) Stage(ctx context.Context, meshName, name, stage string) ([]byte, error) {
	for _, s := range stages {
		if s.name != stage {
			continue
		}
		id := proxy.ID{Mesh: meshName, Name: name}
		m, err := p.find(ctx, id)
		if err != nil {
			return nil, err
		}
		b, err := s.show(p, m, id)
		if err != nil {
			return nil, fmt.Errorf("show stage %s of dataplane %s: %w", stage, id, err)
		}
		return b, nil
	}
	return nil, mesh.Violations{{Field: "stage", Reason: fmt.Sprintf("%.32q is none; choose one of %s", stage, strings.Join(Stages(), ", "))}}
}

func (p *Publisher) showResource(m *snapshot.Mesh, id proxy.ID) ([]byte, error) {
	return api.EncodeYAML(*m.Dataplane(id.Name))
}

// showPlan shows the plan, and all that became of it otherwise than asked: what
// the stages warn of, what the proxy refused, why it has not the newest plan.
func (p *Publisher) showPlan(m *snapshot.Mesh, id proxy.ID) ([]byte, error) {
	o, _, err := p.rendered(m, id)
	if o.config == nil {
		return nil, err
	}
	doc := struct {
		*proxy.Config
		Warnings []proxy.Warning `json:"warnings,omitempty"`
		Refused  []refused       `json:"refused,omitempty"`
		Problem  string          `json:"problem,omitempty"`
	}{Config: o.config, Warnings: o.warnings, Problem: p.problem(id)}
	if err != nil {
		doc.Problem = err.Error()
	}
	if st, ok := p.stream.Status(id); ok {
		doc.Refused = blame(o.config, refusals(st))
	}
	return yaml.Marshal(doc)
}

// A refused is what a proxy does not take, in its own words.
type refused struct {
	Type string `json:"type"`
	xds.Refusal
	// Origins are the policies that had a say in it.
	Origins []string `json:"origins,omitempty"`
}

func refusals(st xds.Status) (all []refused) {
	for _, t := range st.Types {
		if t.Refused != nil {
			all = append(all, refused{Type: t.Type, Refusal: *t.Refused})
		}
	}
	return all
}

func (p *Publisher) showRender(m *snapshot.Mesh, id proxy.ID) ([]byte, error) {
	_, b, err := p.rendered(m, id)
	if err != nil {
		return nil, err
	}
	return render.YAML(b)
}

func (p *Publisher) showStream(m *snapshot.Mesh, id proxy.ID) ([]byte, error) {
	st, ok := p.stream.Status(id)
	if !ok {
		return []byte("connected: false\n"), nil
	}
	doc := struct {
		Connected bool `json:"connected"`
		xds.Status
		Refused []refused `json:"refused,omitempty"`
		Problem string    `json:"problem,omitempty"`
	}{Connected: true, Status: st, Problem: p.problem(id)}
	if doc.Refused = refusals(st); len(doc.Refused) > 0 {
		if o, _, err := p.rendered(m, id); err == nil {
			doc.Refused = blame(o.config, doc.Refused)
		}
	}
	return yaml.Marshal(doc)
}

// problem tells why a connected proxy does not have the newest plan.
func (p *Publisher) problem(id proxy.ID) string {
	r := p.records.find(id)
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}
