// Package trust tells the hosts of every mesh whom to believe and who signs for
// them, and leads rotations of authorities through their stages.
//
// Every replica does so for the hosts that are connected to it. What has been
// reached is in the store alone, so that any of them goes on where another one
// stopped.
package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Store is what is read and followed.
type Store interface {
	List(ctx context.Context, q store.Query) (store.Page, error)
	Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error)
}

// A Stream is where hosts hear of it. *xds.Server is one.
type Stream interface {
	PublishTrust(mesh string, t *hostv1.Trust, i *hostv1.Issuer) error
	Taken(mesh, typeURL string) (agents, taken int, lacking []string)
	PublishControlPlane(c *hostv1.ControlPlane) error
	TakenControlPlane() (agents, taken int, lacking []string)
}

// A Keeper does it for one replica. All fields but those that say so are needed.
type Keeper struct {
	Store  Store
	Meshes *ca.Meshes
	Stream Stream
	// Own is the control plane's own authority; nil: its hosts are told nothing.
	Own *ca.Own
	// ControlPlanes is where those are, host:port; nil: hosts hear of them with
	// their next stream alone.
	ControlPlanes func() []string
	// Registered is how many dataplanes a mesh has, Hosts how many hosts all
	// meshes have.
	Registered func(mesh string) int
	Hosts      func() int
	Replica    string // unlike that of every other one
	// ByAge lets authorities rotate by themselves when two thirds of their life
	// are over.
	ByAge bool
	Every time.Duration    // between looks at rotations; 0: a second
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: slog.Default

	meshes  map[string]*mesh.MeshSpec
	told    map[string]ca.Bundle
	unread  map[string]bool // meshes of which something may have changed
	rotates map[string]bool
	waits   map[string]string // what was logged last of a mesh; "" is the control plane's own
	aged    time.Time
	own     own

	addresses string // of control planes, with spaces between
}

func (k *Keeper) log() *slog.Logger { return cmp.Or(k.Log, slog.Default()) }

func (k *Keeper) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// ageEvery is how often the age of authorities is looked at.
const ageEvery = time.Minute

// spreadRate is how many hosts a second are to ask for a new certificate.
const spreadRate = 50

// Run works until ctx ends, then returns nil. A store that is away is waited
// for: hosts keep what they have.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := k.session(ctx); err != nil && ctx.Err() == nil {
			k.log().Warn("store is listed again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

func (k *Keeper) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.meshes, k.unread, k.rotates = map[string]*mesh.MeshSpec{}, map[string]bool{}, map[string]bool{}
	k.own.unread = true
	if k.told == nil {
		k.told, k.waits = map[string]ca.Bundle{}, map[string]string{}
	}
	page, err := k.Store.List(ctx, store.Query{})
	if err != nil {
		return fmt.Errorf("list the store: %w", err)
	}
	for i := range page.Items {
		k.take(store.Change{Key: page.Items[i].Key(), Now: &page.Items[i]})
	}
	for name := range k.told {
		k.unread[name] = true // it may be gone
	}
	feed, err := k.Store.Watch(ctx, page.At)
	if err != nil {
		return fmt.Errorf("watch the store: %w", err)
	}
	tick := time.NewTicker(cmp.Or(k.Every, time.Second))
	defer tick.Stop()
	k.look()
	for {
		k.tell(ctx)
		k.tellOwn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case c, ok := <-feed:
			if !ok {
				return errors.New("the feed of changes was lost")
			}
			k.take(c)
		case <-tick.C:
			k.look()
			k.lead(ctx)
			k.leadOwn(ctx)
		}
	}
}

// take notes which mesh's authorities a change may concern.
func (k *Keeper) take(c store.Change) {
	switch c.Key.Kind {
	case mesh.MeshKind.Name:
		delete(k.meshes, c.Key.Name)
		if c.Now != nil {
			if spec, ok := c.Now.Spec.(*mesh.MeshSpec); ok {
				k.meshes[c.Key.Name] = spec
			}
		}
		k.unread[c.Key.Name] = true
	case ca.OwnKey.Kind:
		k.own.unread = k.own.unread || c.Key == ca.OwnKey
	case mesh.SecretKind.Name:
		if strings.HasPrefix(c.Key.Name, c.Key.Mesh+".ca-rotation-") {
			k.rotates[c.Key.Mesh] = c.Now != nil
		}
		k.unread[c.Key.Mesh] = true
	}
}

// tell publishes what has changed. A mesh whose authority cannot be read keeps
// what its hosts were told, and is read again.
func (k *Keeper) tell(ctx context.Context) {
	for name := range k.unread {
		spec := k.meshes[name]
		var now ca.Bundle
		if spec != nil {
			var err error
			if now, err = k.Meshes.Bundle(ctx, name, spec); err != nil {
				if ctx.Err() == nil {
					k.say(name, "mesh's authority cannot be read", err.Error())
				}
				continue
			}
		}
		delete(k.unread, name)
		was, known := k.told[name]
		if known && string(was.Roots) == string(now.Roots) && was.Issuer == now.Issuer {
			continue
		}
		var t *hostv1.Trust
		var i *hostv1.Issuer
		if now.Issuer != "" {
			spread := time.Second * time.Duration(1+k.Registered(name)/spreadRate)
			t, i = &hostv1.Trust{Roots: now.Roots}, &hostv1.Issuer{Authority: now.Issuer, Spread: durationpb.New(spread)}
		}
		if err := k.Stream.PublishTrust(name, t, i); err != nil {
			k.log().Error("hosts were not told whom to trust", "mesh", name, "error", err)
			continue
		}
		if spec == nil {
			delete(k.told, name)
		} else {
			k.told[name] = now
		}
	}
}

// lead reports how this replica's hosts are to each rotation, and moves it on.
func (k *Keeper) lead(ctx context.Context) {
	now := k.now().UTC()
	old := k.ByAge && now.Sub(k.aged) >= ageEvery
	if old {
		k.aged = now
	}
	for name, spec := range k.meshes {
		if old && !k.rotates[name] {
			k.age(ctx, name, spec)
		}
		if !k.rotates[name] || spec.MTLS == nil || k.unread[name] {
			continue
		}
		for _, be := range spec.MTLS.Backends {
			if be.Type != ca.Builtin {
				continue
			}
			if err := k.step(ctx, name, be.Name, now); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, ca.ErrNoRotation) && ctx.Err() == nil {
				k.say(name, "rotation did not go on", err.Error())
			}
		}
	}
}

func (k *Keeper) age(ctx context.Context, name string, spec *mesh.MeshSpec) {
	old, err := k.Meshes.Old(ctx, name, spec)
	if err == nil && old {
		err = k.Meshes.BeginRotation(ctx, name, ca.Options{Reason: "two thirds of the authority's life were over"})
		if err == nil {
			k.log().Info("rotation of an authority began", "mesh", name, "reason", "age")
		}
	}
	if err != nil && !errors.Is(err, ca.ErrRotating) && ctx.Err() == nil {
		k.say(name, "age of an authority was not looked at", err.Error())
	}
}

func (k *Keeper) step(ctx context.Context, name, backend string, now time.Time) error {
	r, _, err := k.Meshes.Rotation(ctx, name, backend)
	if err != nil {
		return err
	}
	of := xds.TrustType
	if r.Stage == ca.Renew {
		of = xds.IssuerType
	}
	// The bundle that was published last may be of the stage before: what this
	// replica says of its hosts would be of that.
	is, err := k.Meshes.Bundle(ctx, name, k.meshes[name])
	if err != nil {
		return err
	}
	if told := k.told[name]; told.Issuer != is.Issuer || string(told.Roots) != string(is.Roots) {
		k.unread[name] = true
		return nil
	}
	hosts, ready, _ := k.Stream.Taken(name, of)
	if err := k.Meshes.Report(ctx, name, backend, k.Replica, ca.Report{At: now, Stage: r.Stage, Hosts: hosts, Ready: ready}); err != nil {
		return err
	}
	to, why, err := k.Meshes.Advance(ctx, name, backend, k.Registered(name))
	if err != nil || to == "" {
		return err
	}
	k.log().Info("rotation of an authority went on", "mesh", name, "backend", backend, "stage", string(to), "because", why)
	return nil
}

// say logs what is wrong with a mesh once.
func (k *Keeper) say(name, what, why string) {
	if k.waits[name] != why {
		k.waits[name] = why
		k.log().Warn(what, "mesh", name, "error", why)
	}
}

// Settled tells why a mesh should not change its authorities now: hosts of this
// replica have not done what follows from the last change.
func Settled(s Stream, name string) error {
	for _, of := range []struct{ typeURL, what string }{{xds.TrustType, "trust the mesh's present authorities"}, {xds.IssuerType, "have a certificate of the authority that signs now"}} {
		hosts, ready, lacking := s.Taken(name, of.typeURL)
		if ready < hosts {
			return fmt.Errorf("%d of %d connected hosts do not yet %s, such as %s", hosts-ready, hosts, of.what, lacking[0])
		}
	}
	return nil
}
