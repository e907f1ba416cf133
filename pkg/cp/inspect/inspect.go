// Package inspect tells what became of what is stored: which policies act on a
// dataplane, how services fare, what becomes of a call and why, and what a
// change would bring.
//
// It reads a snapshot and plans made of it, so it says what proxies are told,
// and decides nothing by itself. Everything here is a function of its
// arguments.
package inspect

import (
	"fmt"

	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Online tells whether the proxy of a dataplane is connected.
type Online func(mesh, name string) bool

// planOf plans a dataplane that has to be there: else it fails with
// store.ErrNotFound.
func planOf(m *snapshot.Mesh, name string) (*proxy.Config, []plan.Warning, error) {
	c, warnings := plan.For(snapshot.NewView(m), name)
	if c == nil {
		return nil, nil, fmt.Errorf("%s: %w", mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: m.Name(), Name: name}, store.ErrNotFound)
	}
	return c, warnings, nil
}
