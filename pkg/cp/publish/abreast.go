package publish

import (
	"context"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Version is that of the newest state of which anything may have been sent.
func (p *Publisher) Version() mesh.Version { return mesh.Version(p.begun.Load()) }

// Abreast waits until nothing that a proxy can be given is older than version.
func (p *Publisher) Abreast(ctx context.Context, version mesh.Version) error {
	for {
		p.mu.Lock()
		told, moved := p.told, p.moved
		p.mu.Unlock()
		if told >= version {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell notes that every lane holds the state of version.
func (p *Publisher) tell(version mesh.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = version
	close(p.moved)
	p.moved = make(chan struct{})
}
