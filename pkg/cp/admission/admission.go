// Package admission decides what may be written, completes it, and writes it.
//
// It is the one way into the store for what people and hosts send: REST and
// the Host service both use it.
package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// What errors wrap, beside mesh.ErrInvalid and those of package store.
var (
	// ErrNoMesh: the mesh that a resource says it belongs to does not exist.
	ErrNoMesh = errors.New("there is no such mesh")
	// ErrRefused: the write is sound in itself, but not in the state that the
	// mesh is in. Such errors are mesh.Violations too.
	ErrRefused = errors.New("refused")
)

// authority makes the certificate authority of a mesh, unless it is there or
// the mesh has no mTLS.
type authority interface {
	Ensure(ctx context.Context, mesh string, spec *mesh.MeshSpec) error
}

// keys makes the key that signs a mesh's tokens, unless it is there.
type keys interface {
	Ensure(ctx context.Context, mesh string) error
}

// An Admission writes into one store. All of its methods may be called at once
// from many goroutines. There must be one only per control plane: it keeps
// meshes from being deleted while something is put into them.
type Admission struct {
	Store     store.Store
	Authority authority
	Keys      keys
	// Zone is where the dataplanes are that are put here; default DefaultZone.
	Zone string
	// Own is what nobody may write or delete, as the control plane keeps it for
	// itself; the zero Key is nothing.
	Own mesh.Key
	// Native tells what of a ProxyTemplate is not in the proxy's own words, by
	// field. Nil takes them unread.
	Native func(template mesh.Resource) mesh.Violations
	// Carries tells of a mesh, as it was stored before, whether any of its
	// dataplanes carries what a selector wants; nil has the dataplanes read.
	Carries func(ctx context.Context, mesh string, s mesh.Selector) (bool, error)

	// Permissions are the TrafficPermissions of a mesh, as far as they are at hand;
	// nil has nobody warned of those that shadow each other.
	Permissions func(mesh string) []*mesh.Resource

	// Settled tells why a mesh's authorities should not change now: hosts that
	// have not done what follows from the last change. Nil never does.
	Settled func(mesh string) error

	// meshes is held for writing while a mesh changes, for reading while
	// something is put into one.
	meshes sync.RWMutex
}

// A Result is what became of a write.
type Result struct {
	Resource  mesh.Resource // as it is stored now
	Created   bool
	Unchanged bool     // what was there was equal, and so nothing was written
	Warnings  []string // for the author: what was changed about his resource, and why
}

// attempts bounds how often a write is tried again that was overtaken. Each
// time somebody else succeeded, so reaching it takes a storm of writers.
const attempts = 20

// Put writes r, whatever is there. Where r carries a version, that must be
// what is stored: see PutAt. The resource that is passed is left as it is.
//
// It fails with mesh.ErrInvalid (all violations at once), ErrNoMesh,
// ErrRefused or store.ErrConflict.
func (a *Admission) Put(ctx context.Context, r mesh.Resource) (Result, error) {
	if r.Meta.Version != 0 {
		return a.PutAt(ctx, r)
	}
	return a.put(ctx, r, whatever, false)
}

// whatever is stored may be written over, as often as it takes.
func whatever(stored mesh.Version, try int) (mesh.Version, bool) { return stored, try < attempts }

// PutAt writes r if its version is the stored one; 0 means that there must be
// none yet. Else it fails with store.ErrConflict. Who decides by what Current
// returned writes with PutAt, so that he decided about what he replaces.
func (a *Admission) PutAt(ctx context.Context, r mesh.Resource) (Result, error) {
	return a.put(ctx, r, at(r.Meta.Version), false)
}

// at is one version, and no other.
func at(v mesh.Version) func(mesh.Version, int) (mesh.Version, bool) {
	return func(mesh.Version, int) (mesh.Version, bool) { return v, false }
}

// Preview tells what Put would do with r, and does nothing: neither r is
// written nor what a new mesh needs made. The result's resource is r as it
// would be stored, with the version and the times of what is there now.
func (a *Admission) Preview(ctx context.Context, r mesh.Resource) (Result, error) {
	if r.Meta.Version != 0 {
		return a.put(ctx, r, at(r.Meta.Version), true)
	}
	return a.put(ctx, r, whatever, true)
}

// put asks at which version to write and whether to try again after a
// conflict. A preview stops short of writing.
func (a *Admission) put(ctx context.Context, r mesh.Resource, at func(stored mesh.Version, try int) (mesh.Version, bool), preview bool) (Result, error) {
	if r.Kind == nil || r.Spec == nil {
		return Result{}, errors.New("put: a resource needs a kind and a spec")
	}
	k := r.Key()
	if err := a.checkOwn(k); err != nil {
		return Result{}, fmt.Errorf("put %s: %w", k, err)
	}
	if err := r.Validate().Err(); err != nil {
		return Result{}, fmt.Errorf("put %s: %w", k, err)
	}
	if r.Kind == mesh.MeshKind {
		a.meshes.Lock()
		defer a.meshes.Unlock()
	} else {
		a.meshes.RLock()
		defer a.meshes.RUnlock()
	}
	wanted, warnings, err := a.complete(ctx, r)
	if err != nil {
		return Result{}, fmt.Errorf("put %s: %w", k, err)
	}
	for try := 1; ; try++ {
		current, exists, err := a.Current(ctx, k)
		if err != nil {
			return Result{}, fmt.Errorf("put %s: %w", k, err)
		}
		keepStates(wanted, current)
		version, again := at(current.Meta.Version, try)
		if version != current.Meta.Version {
			return Result{}, fmt.Errorf("put %s at version %d: %w", k, version, store.ErrConflict)
		}
		result := Result{Resource: current, Warnings: warnings}
		if exists {
			result.Unchanged, err = equal(current, wanted)
		}
		if preview {
			if err == nil && r.Kind == mesh.MeshKind {
				err = a.checkMesh(wanted.Meta.Name, wanted.Spec, current.Spec)
			}
			result.Resource, result.Created = wanted, !exists
			result.Resource.Meta.Version, result.Resource.Meta.Created, result.Resource.Meta.Modified = version, current.Meta.Created, current.Meta.Modified
			if err != nil {
				return Result{}, fmt.Errorf("put %s: %w", k, err)
			}
			result.Warnings = slices.Concat(warnings, a.unmatched(ctx, wanted), a.shadowed(wanted, current, result.Unchanged))
			return result, nil
		}
		if err == nil && r.Kind == mesh.MeshKind {
			err = a.prepareMesh(ctx, wanted, current.Spec)
		}
		if err == nil && !result.Unchanged {
			wanted.Meta.Version = version
			result.Resource, err = a.Store.Put(ctx, wanted)
			result.Created = !exists
		}
		if err == nil {
			// It is on its way to the proxies meanwhile.
			result.Warnings = slices.Concat(warnings, a.unmatched(ctx, wanted), a.shadowed(wanted, current, result.Unchanged))
			return result, nil
		}
		if !errors.Is(err, store.ErrConflict) || !again {
			return Result{}, fmt.Errorf("put %s: %w", k, err)
		}
	}
}

// Current returns what is stored under k, and whether there is anything.
func (a *Admission) Current(ctx context.Context, k mesh.Key) (r mesh.Resource, found bool, err error) {
	r, err = a.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return mesh.Resource{}, false, nil
	}
	return r, err == nil, err
}
