package cp

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/rest"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// ask asks the agent of a dataplane about its Envoy.
func (c *ControlPlane) ask(ctx context.Context, meshName, name string, q *hostv1.Question) ([]byte, error) {
	packed, err := c.questions.Ask(ctx, proxy.ID{Mesh: meshName, Name: name}, q)
	switch {
	case errors.Is(err, host.ErrBusy):
		err = fmt.Errorf("%w: %w", rest.ErrBusy, err)
	case errors.Is(err, xds.ErrAway):
		err = fmt.Errorf("%w: %s", rest.ErrNoView, c.whereabouts(meshName, name))
	case errors.Is(err, xds.ErrDeaf):
		err = fmt.Errorf("%w: it has no agent that answers questions: upgrade the agent of %s, or ask Envoy on its host", rest.ErrNoView, name)
	case errors.Is(err, host.ErrNoAnswer):
		err = fmt.Errorf("%w: %w", rest.ErrNoView, err)
	}
	return packed, err
}

// whereabouts says where a proxy is that has no stream here.
func (c *ControlPlane) whereabouts(meshName, name string) string {
	in, ok := c.elsewhere(meshName, name)
	if !ok {
		return fmt.Sprintf("the agent of %s is not connected; what its proxy would be sent is at /meshes/%s/dataplanes/%[1]s/_config", name, meshName)
	}
	instance := ""
	for _, s := range in.Subscriptions {
		instance = s.ControlPlaneInstanceID
	}
	for _, r := range c.replicas.Replicas() {
		if r.Instance == instance {
			return fmt.Sprintf("the agent of %s is connected to another control plane, instance %s on host %s: ask that one", name, instance, r.Hostname)
		}
	}
	return fmt.Sprintf("the agent of %s is connected to another control plane, instance %s: ask that one", name, instance)
}
