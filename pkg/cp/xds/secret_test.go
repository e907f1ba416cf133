package xds

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A proxy that asks for everybody's secrets gets those that its own clusters
// name, and nobody's log has any.
func TestSecretsAreAProxysOwn(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		give := func(id proxy.ID, names ...string) {
			b := bundleOf(time.Second, "api")
			for _, n := range names {
				b.Secrets = append(b.Secrets, render.Certificate(n, []byte("CHAIN OF "+n), []byte("KEY OF "+n)))
			}
			w.give(t, id, b)
		}
		neighbour := proxy.ID{Mesh: web.Mesh, Name: "neighbour"}
		give(web, "external:pay:client")
		give(neighbour, "external:ship:client")
		open(t, w, neighbour, fakeenvoy.Options{World: sotw})

		c := open(t, w, web, fakeenvoy.Options{World: sotw, Bare: true})
		c.Ask(resource.SecretType, "external:pay:client", "external:ship:client", proxy.IdentitySecret(web.Mesh))
		told := func(s fakeenvoy.State) (names []string) {
			for _, r := range s.Responses {
				if r.Type == resource.SecretType {
					names = append(names, r.Names...)
				}
			}
			return names
		}
		c.Wait(t, "its own secret", func(s fakeenvoy.State) bool { return len(told(s)) > 0 })
		give(web, "external:pay:client", "external:late:client")
		c.Ask(fakeenvoy.Clusters) // what comes of it comes after any secret
		st := c.Wait(t, "clusters", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Clusters) > 0 })
		if got := told(st); !slices.Equal(got, []string{"external:pay:client"}) {
			t.Errorf("it was told %v", got)
		}
		if log := w.log.String(); strings.Contains(log, "KEY OF") || strings.Contains(log, "CHAIN OF") {
			t.Errorf("the log has a secret:\n%s", log)
		}
	})
}
