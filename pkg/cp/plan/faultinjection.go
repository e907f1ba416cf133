package plan

import (
	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// faults are what goes wrong at an inbound.
func (p *planner) faults(in *proxy.Inbound) (fs []proxy.Fault) {
	if !proxy.IsHTTP(in.Protocol) {
		return nil
	}
	tags := in.Tags
	find := func(all []*mesh.Resource) policy.Matches { return policy.Faults(all, tags) }
	for _, m := range p.policies(mesh.FaultInjectionKind, find, tags) {
		spec := m.Policy.Spec.(*mesh.FaultInjection)
		callers, ok := p.callers(m.Policy, spec.Sources)
		if !ok {
			continue
		}
		f := proxy.Fault{From: origin(m), Callers: callers}
		if d := spec.Conf.Delay; d != nil {
			f.Delay = &proxy.Delay{Percent: *d.Percentage, For: proxy.Duration(d.Duration())}
		}
		if a := spec.Conf.Abort; a != nil {
			f.Abort = &proxy.Abort{Percent: *a.Percentage, Status: a.HTTPStatus}
		}
		if b := spec.Conf.ResponseBandwidth; b != nil {
			f.Bandwidth = &proxy.Bandwidth{Percent: *b.Percentage, BitsPerSecond: b.BitsPerSecond()}
		}
		fs = append(fs, f)
	}
	return fs
}
