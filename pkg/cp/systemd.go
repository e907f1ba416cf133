package cp

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/systemd"
)

// tellSystemd says when the store was read, and that the API answers since. A
// store that is away is no fault here: hosts are served from memory meanwhile.
func (c *ControlPlane) tellSystemd(ctx context.Context) error {
	self, err := api.NewClient(api.ClientConfig{Server: "unix://" + c.cfg.APISocket})
	if err != nil {
		return fmt.Errorf("watch the control plane's own API: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		c.publisher.WaitReady(ctx)
		close(ready)
	}()
	service := systemd.Service{Ready: ready, Log: c.log.With("part", "systemd"), Alive: func(ctx context.Context) error {
		_, err := self.Info(ctx)
		return err
	}}
	return service.Run(ctx)
}
