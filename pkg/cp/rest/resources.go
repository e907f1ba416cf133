package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// keyOf returns what a URL names. Its mesh has to be there.
func (s *Server) keyOf(c call, k *mesh.Kind) (mesh.Key, error) {
	key := mesh.Key{Kind: k.Name, Mesh: c.PathValue("mesh"), Name: c.PathValue("name")}
	return key, s.checkMesh(c.Context(), key.Mesh)
}

// checkMesh fails with admission.ErrNoMesh; "" is no mesh at all and fine.
func (s *Server) checkMesh(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := s.Store.Get(ctx, mesh.Key{Kind: mesh.MeshKind.Name, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("mesh %q: %w", name, admission.ErrNoMesh)
	}
	return err
}

// A writing is how a resource that was read goes out, as JSON.
type writing func(ctx context.Context, r mesh.Resource) ([]byte, error)

func asItIs(_ context.Context, r mesh.Resource) ([]byte, error) { return api.Encode(r) }

func (s *Server) get(k *mesh.Kind, write writing) func(call) (answer, error) {
	return func(c call) (answer, error) {
		key, err := s.keyOf(c, k)
		if err != nil {
			return answer{}, err
		}
		r, err := s.Store.Get(c.Context(), key)
		if err != nil {
			return answer{}, err
		}
		doc, err := write(c.Context(), r)
		if err != nil {
			return answer{}, err
		}
		return asJSON(http.StatusOK, json.RawMessage(doc))
	}
}

func (s *Server) put(k *mesh.Kind) func(call) (answer, error) {
	return func(c call) (answer, error) {
		key, err := s.keyOf(c, k)
		if err != nil {
			return answer{}, err
		}
		data, err := body(c)
		if err != nil {
			return answer{}, err
		}
		r, err := api.DecodeAs(k, data)
		if err != nil {
			return answer{}, err
		}
		if err := checkSame(&r, key).Err(); err != nil {
			return answer{}, err
		}
		result, err := s.Admission.Put(c.Context(), r)
		if err != nil {
			return answer{}, err
		}
		if !result.Unchanged {
			s.Log.Info("resource was stored", "user", c.user.Name, "kind", key.Kind, "mesh", key.Mesh, "name", key.Name,
				"version", result.Resource.Meta.Version, "created", result.Created)
		}
		status := http.StatusOK
		if result.Created {
			status = http.StatusCreated
		}
		return asJSON(status, api.PutResult{Warnings: result.Warnings})
	}
}

// checkSame wants a document to be what the URL names, and valid as that; all
// that is wrong is told at once.
func checkSame(r *mesh.Resource, key mesh.Key) (v mesh.Violations) {
	for _, f := range []struct {
		field, url string
		body       *string
	}{{"mesh", key.Mesh, &r.Meta.Mesh}, {"name", key.Name, &r.Meta.Name}} {
		if *f.body != f.url {
			v.Add(f.field, "%s from the URL has to be the same as in body", f.field)
			*f.body = f.url
		}
	}
	return append(v, r.Validate()...)
}

func (s *Server) delete(k *mesh.Kind) func(call) (answer, error) {
	return func(c call) (answer, error) {
		key, err := s.keyOf(c, k)
		if err != nil {
			return answer{}, err
		}
		if err := s.Admission.Delete(c.Context(), key); err != nil {
			return answer{}, err
		}
		s.Log.Info("resource was deleted", "user", c.user.Name, "kind", key.Kind, "mesh", key.Mesh, "name", key.Name)
		return asJSON(http.StatusOK, struct{}{})
	}
}
