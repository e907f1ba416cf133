package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/signing"
)

// A serial numbers a family's signing keys, from 1. The highest signs, all
// verify.
type serial uint64

func (s serial) String() string { return strconv.FormatUint(uint64(s), 10) }

// parseSerial reads a token's kid header, which is whatever a stranger sent.
func parseSerial(f Family, kid any) (serial, error) {
	text, ok := kid.(string)
	if !ok {
		return 0, refused("its header names no signing key (kid must be a string): %s", f.remedy())
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || serial(n).String() != text {
		return 0, refused("its header names a signing key that cannot be (kid must be a number): %s", f.remedy())
	}
	return serial(n), nil
}

// keyCache spares parsing a key for each token. An entry counts only for the
// version of the Secret that it was read from.
type keyCache struct {
	mu   sync.Mutex
	seen map[mesh.Key]parsedKey
}

type parsedKey struct {
	version mesh.Version
	key     *rsa.PrivateKey
}

func (c *keyCache) parse(r mesh.Resource) (*rsa.PrivateKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.seen[r.Key()]; ok && e.version == r.Meta.Version {
		return e.key, nil
	}
	secret, ok := r.Spec.(*mesh.Secret)
	if !ok {
		return nil, fmt.Errorf("%s: is no Secret", r.Key())
	}
	key, err := signing.ParseKey(secret.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Key(), err)
	}
	if c.seen == nil {
		c.seen = make(map[mesh.Key]parsedKey)
	}
	c.seen[r.Key()] = parsedKey{r.Meta.Version, key}
	return key, nil
}

func (c *keyCache) forget(k mesh.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, k)
}

func (i *Issuer) key(ctx context.Context, f Family, s serial) (*rsa.PrivateKey, error) {
	k := f.key(s)
	r, err := i.Store.Get(ctx, k)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			i.keys.forget(k)
		}
		return nil, err
	}
	return i.keys.parse(r)
}

// stored lists a family's keys by serial, the highest last.
func (i *Issuer) stored(ctx context.Context, f Family) (serials []serial, keys []mesh.Resource, err error) {
	page, err := i.Store.List(ctx, store.Query{Kind: f.secretKind(), Mesh: f.Mesh, Name: f.keyPrefix()})
	if err != nil {
		return nil, nil, err
	}
	found := map[serial]mesh.Resource{}
	for _, r := range page.Items {
		text, ok := strings.CutPrefix(r.Meta.Name, f.keyPrefix())
		if !ok {
			continue
		}
		if s, err := parseSerial(f, text); err == nil {
			found[s] = r
			serials = append(serials, s)
		}
	}
	slices.Sort(serials)
	for _, s := range serials {
		keys = append(keys, found[s])
	}
	return serials, keys, nil
}

func (i *Issuer) newestKey(ctx context.Context, f Family) (serial, *rsa.PrivateKey, error) {
	serials, keys, err := i.stored(ctx, f)
	if err != nil {
		return 0, nil, err
	}
	if len(serials) == 0 {
		return 0, nil, fmt.Errorf("%s: %w", f, ErrNoSigningKey)
	}
	key, err := i.keys.parse(keys[len(keys)-1])
	return serials[len(serials)-1], key, err
}

// Ensure makes the mesh's first signing key unless it has one. Of several
// control planes that do so at once one wins, and all succeed.
func (i *Issuer) Ensure(ctx context.Context, meshName string) error {
	return i.ensure(ctx, Family{Dataplane, meshName})
}

// EnsureGlobal is Ensure for the keys of zone and user tokens.
func (i *Issuer) EnsureGlobal(ctx context.Context) error {
	return errors.Join(i.ensure(ctx, Family{Kind: Zone}), i.ensure(ctx, Family{Kind: User}))
}

func (i *Issuer) ensure(ctx context.Context, f Family) error {
	_, _, err := i.newestKey(ctx, f)
	if !errors.Is(err, ErrNoSigningKey) {
		return err
	}
	if err := i.make(ctx, f, 1); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("make the signing key of the %s: %w", f, err)
	}
	return nil
}

func (i *Issuer) make(ctx context.Context, f Family, s serial) error {
	data, err := signing.NewKey()
	if err != nil {
		return err
	}
	k := f.key(s)
	_, err = i.Store.Put(ctx, mesh.Resource{Kind: f.secretKind(), Meta: mesh.Own(k), Spec: &mesh.Secret{Data: data}})
	return err
}

// A Key is one signing key, without itself.
type Key struct {
	ID    string    `json:"id"` // the kid of its tokens
	Made  time.Time `json:"made"`
	Signs bool      `json:"signs"`
}

// Keys lists a family's signing keys, the one that signs last.
func (i *Issuer) Keys(ctx context.Context, f Family) ([]Key, error) {
	serials, keys, err := i.stored(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list the signing keys of the %s: %w", f, err)
	}
	all := []Key{}
	for n, s := range serials {
		all = append(all, Key{ID: s.String(), Made: keys[n].Meta.Created, Signs: n == len(serials)-1})
	}
	return all, nil
}

// RotateKey makes another signing key. What earlier ones signed stays good until
// they are dropped. Of two at once one fails with store.ErrConflict.
func (i *Issuer) RotateKey(ctx context.Context, f Family) (id string, err error) {
	serials, _, err := i.stored(ctx, f)
	if err != nil {
		return "", fmt.Errorf("rotate the signing key of the %s: %w", f, err)
	}
	next := serial(1)
	if len(serials) > 0 {
		next = serials[len(serials)-1] + 1
	}
	if err := i.make(ctx, f, next); err != nil {
		return "", fmt.Errorf("rotate the signing key of the %s: %w", f, err)
	}
	return next.String(), nil
}

// DropKey deletes a signing key: all that it signed is good no more. The one
// that signs is kept.
func (i *Issuer) DropKey(ctx context.Context, f Family, id string) error {
	var v mesh.Violations
	keys, err := i.Keys(ctx, f)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
	switch {
	case n < 0:
		v.Add("id", "the %s have no signing key %s", f, short(id))
		return v
	case keys[n].Signs:
		v.Add("id", "%s is the key that signs the %s: rotate it first, and drop this one when nobody uses its tokens any more", id, f)
		return v
	}
	s, err := parseSerial(f, id)
	if err != nil {
		return err
	}
	return i.Store.Delete(ctx, f.key(s), 0)
}
