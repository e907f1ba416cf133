// Package sealed keeps Secrets and GlobalSecrets encrypted in any store.
//
// What is stored of one is AES-256-GCM under a key that lies in a file, bound to
// the kind, mesh and name: whoever reads a database, or a copy of one, learns
// nothing, and cannot put one secret in another's place. Keys of authorities and
// those that sign tokens are Secrets too.
package sealed

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// magic begins what is sealed. The key's ID, the nonce and the rest follow.
const magic = "weft-sealed\x01"

// kinds are those that are sealed.
var kinds = []*mesh.Kind{mesh.SecretKind, mesh.GlobalSecretKind}

// A Store seals what goes into another store and opens what comes out of it.
type Store struct {
	store.Keeper
	keys *Keys
	log  *slog.Logger

	mu   sync.Mutex
	told map[mesh.Key]mesh.Version // what could not be opened, and was logged
}

// Over returns s with its secrets sealed.
func Over(s store.Keeper, keys *Keys, log *slog.Logger) *Store {
	return &Store{Keeper: s, keys: keys, log: log, told: map[mesh.Key]mesh.Version{}}
}

// of is the secret in a resource that is to be sealed.
func of(r mesh.Resource) (*mesh.Secret, bool) {
	if !slices.Contains(kinds, r.Kind) {
		return nil, false
	}
	s, ok := r.Spec.(*mesh.Secret)
	return s, ok
}

func bound(r mesh.Resource) []byte {
	return []byte(r.Kind.Name + "\x00" + r.Meta.Mesh + "\x00" + r.Meta.Name)
}

// seal returns r as it is to be stored.
func seal(r mesh.Resource, s *mesh.Secret, k key) (mesh.Resource, error) {
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return r, fmt.Errorf("seal %s: %w", r.Key(), err)
	}
	out := slices.Concat([]byte(magic), k.id[:], nonce)
	r.Spec = &mesh.Secret{Data: k.aead.Seal(out, nonce, s.Data, bound(r))}
	return r, nil
}

// sealedBy tells which key a stored secret needs; false where it is plain, as
// those that were stored before they were sealed.
func sealedBy(s *mesh.Secret) (id ID, rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(s.Data, []byte(magic))
	if !ok || len(rest) < len(id) {
		return id, nil, false
	}
	copy(id[:], rest)
	return id, rest[len(id):], true
}

// open returns r as its author wrote it.
func (s *Store) open(r mesh.Resource) (mesh.Resource, error) {
	secret, ok := of(r)
	if !ok {
		return r, nil
	}
	id, rest, ok := sealedBy(secret)
	if !ok {
		return r, nil
	}
	k, ok := s.keys.opener(id)
	if !ok {
		return r, fmt.Errorf("%s: %w: it is sealed by key %s, which is not in %s: put the file back from a copy, or from another replica", r.Key(), ErrKey, id, s.keys.path)
	}
	n := k.aead.NonceSize()
	if len(rest) < n {
		return r, fmt.Errorf("%s: %w: it is damaged", r.Key(), ErrKey)
	}
	data, err := k.aead.Open(nil, rest[:n], rest[n:], bound(r))
	if err != nil {
		return r, fmt.Errorf("%s: %w: it is damaged, or was another's: delete it or put the store back from a backup", r.Key(), ErrKey)
	}
	r.Spec = &mesh.Secret{Data: data}
	return r, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	r, err := s.Keeper.Get(ctx, k)
	if err != nil {
		return r, err
	}
	return s.open(r)
}

// List implements store.Store. What cannot be opened is left out and logged: one
// bad row must not take the others away.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := s.Keeper.List(ctx, q)
	if err != nil || q.Kind != nil && !slices.Contains(kinds, q.Kind) {
		return page, err
	}
	items := make([]mesh.Resource, 0, len(page.Items))
	for _, r := range page.Items {
		opened, err := s.open(r)
		if err != nil {
			s.tell(r, err)
			continue
		}
		items = append(items, opened)
	}
	page.Items = items
	return page, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	secret, ok := of(r)
	if !ok {
		return s.Keeper.Put(ctx, r)
	}
	covered, err := seal(r, secret, s.keys.sealer())
	if err != nil {
		return mesh.Resource{}, err
	}
	stored, err := s.Keeper.Put(ctx, covered)
	if err != nil {
		return stored, err
	}
	stored.Spec = &mesh.Secret{Data: bytes.Clone(secret.Data)}
	return stored, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error) {
	in, err := s.Keeper.Watch(ctx, from)
	if err != nil {
		return nil, err
	}
	out := make(chan store.Change, cap(in))
	go func() {
		defer close(out)
		for c := range in {
			if c.Now != nil {
				opened, err := s.open(*c.Now)
				if err != nil {
					s.tell(*c.Now, err)
					continue
				}
				c.Now = &opened
			}
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// tell logs once what cannot be opened.
func (s *Store) tell(r mesh.Resource, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.told[r.Key()]; ok && v == r.Meta.Version {
		return
	}
	s.told[r.Key()] = r.Meta.Version
	s.log.Error("a secret was left out", "error", err)
}

// A scrubber is a store that can forget what its rows were before.
type scrubber interface {
	Scrub(ctx context.Context) error
}

// Reseal seals by the newest key what is plain or sealed by another one, and has
// the store forget what was before. It fails with ErrKey where something cannot
// be opened. Of several replicas at once each does a part.
func (s *Store) Reseal(ctx context.Context) (n int, err error) {
	for range 5 { // others write meanwhile
		left, err := s.reseal(ctx, &n)
		if err != nil {
			return n, err
		}
		if left > 0 {
			continue
		}
		if sc, ok := s.Keeper.(scrubber); ok && n > 0 {
			return n, sc.Scrub(ctx)
		}
		return n, nil
	}
	return n, errors.New("seal the secrets anew: somebody else writes them all the time; try again")
}

func (s *Store) reseal(ctx context.Context, n *int) (left int, err error) {
	k := s.keys.sealer()
	for _, kind := range kinds {
		page, err := s.Keeper.List(ctx, store.Query{Kind: kind})
		if err != nil {
			return 0, err
		}
		for _, r := range page.Items {
			secret, ok := of(r)
			if !ok {
				continue
			}
			if id, _, sealed := sealedBy(secret); sealed && id == k.id {
				continue
			}
			plain, err := s.open(r)
			if err != nil {
				return 0, err
			}
			covered, err := seal(plain, plain.Spec.(*mesh.Secret), k)
			if err != nil {
				return 0, err
			}
			switch _, err := s.Keeper.Put(ctx, covered); {
			case err == nil:
				*n++
			case errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound):
				left++
			default:
				return 0, err
			}
		}
	}
	return left, nil
}

// Count is how many secrets each key has sealed; those of the zero ID are plain.
func Count(ctx context.Context, s store.Keeper) (map[ID]int, error) {
	count := map[ID]int{}
	for _, kind := range kinds {
		page, err := s.List(ctx, store.Query{Kind: kind})
		if err != nil {
			return nil, err
		}
		for _, r := range page.Items {
			if secret, ok := of(r); ok {
				id, _, _ := sealedBy(secret)
				count[id]++
			}
		}
	}
	return count, nil
}
