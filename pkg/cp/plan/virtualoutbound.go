package plan

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// maxNameFaults is how many names that could not be given a plan tells.
const maxNameFaults = 10

// named adds what the mesh's directory has beside services: host names of what
// is outside, and those that VirtualOutbounds make. Where the workload says
// which services it calls, only their names count.
func (o *outbounds) named(t *mesh.TransparentProxying) {
	d := o.view.Directory()
	for _, n := range d.All() {
		for _, c := range n.Calls {
			service := c.Tags.Service()
			if len(t.ReachableServices) > 0 && !slices.Contains(t.ReachableServices, service) {
				continue
			}
			at := vips(n.Slot, c.Port, t)
			if o.taken[at[0]] {
				if out := o.byName[Cluster(c.Tags)]; out == nil || !slices.Contains(out.Listen, at[0]) {
					o.warn(originOf(c.From).String(), "%s:%d is called already: %s is not called by it; give it another host or port", n.Host, c.Port, words(c.Tags))
				}
				continue
			}
			s := o.service(service)
			o.add(c.Tags, s.Protocol, at...)
		}
	}
	for i, f := range d.Faults() {
		if i == maxNameFaults {
			o.warn("names", "and %d more could not be given", len(d.Faults())-i)
			break
		}
		o.warn(fmt.Sprintf("%s for %s", originOf(f.From), words(f.Tags)), "%s", f.Why)
	}
}
