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
		return s.single(c, r, write)
	}
}

// single answers with one resource, in the format that is asked for.
func (s *Server) single(c call, r mesh.Resource, write writing) (answer, error) {
	switch format := c.URL.Query().Get("format"); format {
	case "", "universal":
	case "kubernetes", "k8s":
		write = asManifest(c.URL.Query().Get("namespace"))
	default:
		return answer{}, wrong(errQuery, "format", "must be universal or kubernetes, is %.32q", format)
	}
	doc, err := write(c.Context(), r)
	if err != nil {
		return answer{}, err
	}
	a, err := asJSON(http.StatusOK, json.RawMessage(doc))
	a.etag = etag(r.Meta.Version)
	return a, err
}

func (s *Server) put(k *mesh.Kind) func(call) (answer, error) {
	return func(c call) (answer, error) {
		key, err := s.keyOf(c, k)
		if err != nil {
			return answer{}, err
		}
		how, err := s.howToWrite(c)
		if err != nil {
			return answer{}, err
		}
		data, err := body(c)
		if err != nil {
			return answer{}, err
		}
		r, warnings, err := decode(k, data, how.lenient)
		if err != nil {
			return answer{}, err
		}
		if err := checkSame(&r, key).Err(); err != nil {
			return answer{}, err
		}
		write := s.Admission.Put
		if r.Meta.Version = how.at; how.create {
			write = s.Admission.PutAt
		}
		if how.dry {
			a, err := s.tryPut(c, r, warnings)
			return a, how.told(err)
		}
		result, err := write(c.Context(), r)
		if err != nil {
			return answer{}, how.told(err)
		}
		if !result.Unchanged {
			s.Log.Info("resource was stored", "user", c.user.Name, "kind", key.Kind, "mesh", key.Mesh, "name", key.Name,
				"version", result.Resource.Meta.Version, "created", result.Created)
		}
		status := http.StatusOK
		if result.Created {
			status = http.StatusCreated
		}
		a, err := asJSON(status, api.PutResult{Warnings: append(warnings, result.Warnings...)})
		a.etag = etag(result.Resource.Meta.Version)
		return a, err
	}
}

// decode reads a document. Where fields may be lost, it tells which.
func decode(k *mesh.Kind, data []byte, lenient bool) (r mesh.Resource, warnings []string, err error) {
	if !lenient {
		r, err = api.DecodeAs(k, data)
		return r, nil, err
	}
	r, unknown, err := api.DecodeLenient(k, data)
	for _, v := range unknown {
		warnings = append(warnings, v.Field+" was left out: "+v.Reason)
	}
	return r, warnings, err
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
		how, err := s.howToWrite(c)
		if err != nil {
			return answer{}, err
		}
		if how.dry {
			a, err := s.tryDelete(c, key, how.at)
			return a, how.told(err)
		}
		if err := s.Admission.DeleteAt(c.Context(), key, how.at); err != nil {
			return answer{}, how.told(err)
		}
		s.Log.Info("resource was deleted", "user", c.user.Name, "kind", key.Kind, "mesh", key.Mesh, "name", key.Name)
		return asJSON(http.StatusOK, struct{}{})
	}
}
