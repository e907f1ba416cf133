package host_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// memories is a copy of some of a store's resources.
type memories map[mesh.Key]mesh.Resource

func (m memories) Get(_ context.Context, k mesh.Key) (mesh.Resource, error) {
	r, ok := m[k]
	if !ok {
		return r, store.ErrNotFound
	}
	return r, nil
}

// counting counts what is asked of a store.
type counting struct {
	host.Reader
	asked []mesh.Key
	err   error
}

func (c *counting) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	c.asked = append(c.asked, k)
	if c.err != nil {
		return mesh.Resource{}, c.err
	}
	return c.Reader.Get(ctx, k)
}

// What is seen may let a stream go on; the store alone ends one.
func TestProxyAgain(t *testing.T) {
	w := newWorld(t)
	raw := w.token(t, token.Claims{Name: "web-1"})
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", raw))
	id := proxy.ID{Mesh: "default", Name: "web-1"}
	w.put(t, mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: id.Mesh, Name: id.Name}, Spec: &mesh.Dataplane{}})
	remember := func() memories {
		page, err := w.store.List(t.Context(), store.Query{})
		must(t, err)
		m := memories{}
		for _, r := range page.Items {
			m[r.Key()] = r
		}
		return m
	}
	asked := &counting{Reader: w.store}
	behind := w.tokens.Reading(asked.Get)
	w.auth.Sources = host.Sources{Store: asked, Tokens: behind}
	see := func(m memories) { w.auth.Seen = host.Sources{Store: m, Tokens: w.tokens.Reading(m.Get)} }

	see(remember())
	must(t, w.auth.ProxyAgain(ctx, id))
	if len(asked.asked) > 0 {
		t.Errorf("asked the store for %v", asked.asked)
	}
	must(t, w.auth.Proxy(ctx, id))
	if len(asked.asked) == 0 {
		t.Error("a stream was opened without asking the store")
	}

	see(memories{}) // nothing is seen yet
	must(t, w.auth.ProxyAgain(ctx, id))

	claims, err := w.tokens.Verify(t.Context(), raw, "default")
	must(t, err)
	must(t, w.tokens.Revoke(t.Context(), token.Family{Kind: token.Dataplane, Mesh: "default"}, claims.ID))
	see(remember())
	wantCode(t, w.auth.ProxyAgain(ctx, id), codes.Unauthenticated, "revoked")

	asked.err = errors.Join(store.ErrUnavailable)
	wantCode(t, w.auth.ProxyAgain(ctx, id), codes.Unavailable)
	if !slices.ContainsFunc(asked.asked, func(k mesh.Key) bool { return k.Kind == mesh.SecretKind.Name }) {
		t.Errorf("asked the store for %v", asked.asked)
	}
}
