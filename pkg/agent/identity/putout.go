package identity

import (
	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// Heed takes what a call to the control plane failed with. Where that says that
// this host was put out of the mesh, the workload's key and certificate are
// deleted, in memory and on disk, and OnPutOut is called, once.
func (i *Identity) Heed(err error) {
	if err == nil || !hostv1.IsPutOut(err) {
		return
	}
	i.mu.Lock()
	if i.putOut != "" {
		i.mu.Unlock()
		return
	}
	i.putOut = refusal{err}.Error()
	i.workload, i.roots, i.about = pair{}, nil, about{}
	i.unsaved[workloadName] = true
	i.tell()
	i.mu.Unlock()
	i.save()
	i.log().Error("this host was put out of the mesh: the workload's key and certificate are deleted", "dataplane", i.id.String(), "why", i.putOut)
	if i.OnPutOut != nil {
		i.OnPutOut()
	}
}
