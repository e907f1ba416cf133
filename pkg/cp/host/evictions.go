package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// remembered is how long an eviction is kept: longer than any certificate of a
// host lives that was evicted.
const remembered = 31 * 24 * time.Hour

// EvictionsKey names the Secret that lists, a line each, which joinings of a
// mesh are over, and since when.
func EvictionsKey(meshName string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: "dataplane-evictions-" + meshName}
}

// Evictions ends what hosts joined for.
type Evictions struct {
	Store interface {
		Reader
		Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	}
	Now func() time.Time // nil: time.Now
}

// Of evicts the host that registered the Dataplane k, if one did: its
// certificate is worth nothing from then on, whatever becomes of the
// Dataplane. Call it before the Dataplane is deleted.
func (e Evictions) Of(ctx context.Context, k mesh.Key) error {
	dp, err := e.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	join := dp.Meta.Labels[JoinLabel]
	if join == "" {
		return nil
	}
	now := time.Now()
	if e.Now != nil {
		now = e.Now()
	}
	for try := 0; ; try++ {
		err := e.add(ctx, k.Mesh, join, now)
		if err == nil || !errors.Is(err, store.ErrConflict) || try == retries {
			return err
		}
	}
}

func (e Evictions) add(ctx context.Context, meshName, join string, now time.Time) error {
	key := EvictionsKey(meshName)
	r, err := e.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		r, err = mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Own(key), Spec: &mesh.Secret{}}, nil
	}
	if err != nil {
		return err
	}
	old, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return fmt.Errorf("%s: is no Secret", key)
	}
	var text strings.Builder
	for line := range strings.Lines(string(old.Data)) {
		who, at, ok := eviction(line)
		if ok && who != join && now.Sub(at) < remembered {
			text.WriteString(line)
		}
	}
	fmt.Fprintf(&text, "%s %d\n", join, now.Unix())
	r.Spec = &mesh.Secret{Data: []byte(text.String())}
	_, err = e.Store.Put(ctx, r)
	return err
}

func eviction(line string) (join string, at time.Time, ok bool) {
	join, seconds, ok := strings.Cut(strings.TrimSpace(line), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	return join, time.Unix(n, 0), ok && err == nil
}

// evicted fails where what the host joined for is over.
func (by Sources) evicted(ctx context.Context, g Grant) error {
	if g.Join == "" {
		return nil
	}
	r, err := by.Store.Get(ctx, EvictionsKey(g.ID.Mesh))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read evictions of mesh %q: %w", g.ID.Mesh, err)
	}
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return fmt.Errorf("%s: is no Secret", r.Key())
	}
	for line := range strings.Lines(string(secret.Data)) {
		if join, at, ok := eviction(line); ok && join == g.Join {
			return fmt.Errorf("%w: the Dataplane of this host was deleted on %s: %s", ErrPutOut, at.UTC().Format("2006-01-02 15:04:05 UTC"), rejoin)
		}
	}
	return nil
}
