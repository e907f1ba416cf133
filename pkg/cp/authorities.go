package cp

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// authorities are what REST may know and do of the meshes' authorities.
type authorities struct{ *ControlPlane }

func (a authorities) Status(ctx context.Context, name string) (api.MeshAuthorities, error) {
	s, err := a.meshes.Status(ctx, name, a.registered(name))
	if err != nil {
		return s, err
	}
	var lacking, uncertified []string
	s.Hosts.Connected, s.Hosts.Trusting, lacking = a.xds.Taken(name, xds.TrustType)
	_, s.Hosts.Certified, uncertified = a.xds.Taken(name, xds.IssuerType)
	if s.Hosts.Lacking = lacking; len(lacking) == 0 {
		s.Hosts.Lacking = uncertified
	}
	return s, nil
}

func (a authorities) Rotate(ctx context.Context, name, by string, wait, patience time.Duration) error {
	return asked(a.meshes.BeginRotation(ctx, name, ca.Options{Reason: "asked for by " + by, Wait: wait, Patience: patience}))
}

func (a authorities) EndRotation(ctx context.Context, name string) error {
	return asked(a.meshes.EndRotation(ctx, name))
}

func (a authorities) OwnStatus(ctx context.Context) (api.OwnAuthority, error) {
	s, err := a.own.Status(ctx, a.hosts())
	s.Hosts.Connected, s.Hosts.Ready, s.Hosts.Lacking = a.xds.TakenControlPlane()
	return s, err
}

func (a authorities) RotateOwn(ctx context.Context, by string, wait, patience time.Duration) error {
	return asked(a.own.BeginRotation(ctx, ca.Options{Reason: "asked for by " + by, Wait: wait, Patience: patience}))
}

func (a authorities) EndOwnRotation(ctx context.Context) error { return asked(a.own.EndRotation(ctx)) }

// asked turns what cannot be done in the state that a mesh is in into words for
// the one who asked.
func asked(err error) error {
	for _, is := range []error{ca.ErrRotating, ca.ErrNoRotation, ca.ErrOff, ca.ErrFiles} {
		if errors.Is(err, is) {
			var v mesh.Violations
			v.Add("mesh", "%s", err)
			return v
		}
	}
	return err
}
