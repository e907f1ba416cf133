package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// authorities are those of the meshes. Its errors are mesh.Violations where
// what is asked for cannot be, and those of package store.
type authorities interface {
	Status(ctx context.Context, mesh string) (api.MeshAuthorities, error)
	Rotate(ctx context.Context, mesh, by string, wait, patience time.Duration) error
	EndRotation(ctx context.Context, mesh string) error
	// The control plane's own.
	OwnStatus(ctx context.Context) (api.OwnAuthority, error)
	RotateOwn(ctx context.Context, by string, wait, patience time.Duration) error
	EndOwnRotation(ctx context.Context) error
}

func (s *Server) authorityRoutes() []route {
	const see, exchange = "see the authorities of a mesh", "exchange the authority of a mesh"
	const seeOwn, exchangeOwn = "see the control plane's authority", "exchange the control plane's authority"
	return []route{
		{"GET /meshes/{mesh}/_weft/ca", ReadResources, see, "Could not show the authorities", s.authorities},
		{"POST /meshes/{mesh}/_weft/ca/rotation", Rotate, exchange, "Could not begin a rotation", s.rotate},
		{"DELETE /meshes/{mesh}/_weft/ca/rotation", Rotate, exchange, "Could not end the rotation", s.endRotation},
		{"GET /_weft/ca", ViewHosts, seeOwn, "Could not show the authority", s.ownAuthority},
		{"POST /_weft/ca/rotation", Rotate, exchangeOwn, "Could not begin a rotation", s.rotateOwn},
		{"DELETE /_weft/ca/rotation", Rotate, exchangeOwn, "Could not end the rotation", s.endOwnRotation},
	}
}

func (s *Server) authorities(c call) (answer, error) {
	status, err := s.Authorities.Status(c.Context(), c.PathValue("mesh"))
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, status)
}

func (s *Server) rotate(c call) (answer, error) {
	in := c.PathValue("mesh")
	if err := s.checkMesh(c.Context(), in); err != nil {
		return answer{}, err
	}
	wait, patience, err := howToRotate(c)
	if err != nil {
		return answer{}, err
	}
	if err := s.Authorities.Rotate(c.Context(), in, c.user.Name, wait, patience); err != nil {
		return answer{}, err
	}
	s.Log.Info("rotation of an authority began", "user", c.user.Name, "mesh", in)
	return s.authorities(c)
}

// howToRotate reads a RotateRequest.
func howToRotate(c call) (wait, patience time.Duration, err error) {
	data, err := body(c)
	if err != nil {
		return 0, 0, err
	}
	var req api.RotateRequest
	if len(data) > 0 {
		if err := strictly(data, &req); err != nil {
			return 0, 0, &api.SyntaxError{Text: err.Error()}
		}
	}
	var v mesh.Violations
	wait, patience = duration(&v, "wait", req.Wait), duration(&v, "patience", req.Patience)
	return wait, patience, v.Err()
}

func (s *Server) ownAuthority(c call) (answer, error) {
	status, err := s.Authorities.OwnStatus(c.Context())
	if err != nil {
		return answer{}, err
	}
	return asJSON(http.StatusOK, status)
}

func (s *Server) rotateOwn(c call) (answer, error) {
	wait, patience, err := howToRotate(c)
	if err != nil {
		return answer{}, err
	}
	if err := s.Authorities.RotateOwn(c.Context(), c.user.Name, wait, patience); err != nil {
		return answer{}, err
	}
	s.Log.Info("rotation of the control plane's authority began", "user", c.user.Name)
	return s.ownAuthority(c)
}

func (s *Server) endOwnRotation(c call) (answer, error) {
	if err := s.Authorities.EndOwnRotation(c.Context()); err != nil {
		return answer{}, err
	}
	s.Log.Info("rotation of the control plane's authority was given up", "user", c.user.Name)
	return asJSON(http.StatusOK, struct{}{})
}

func duration(v *mesh.Violations, field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		v.Add(field, "must be a duration of more than 0, such as 10m, is %.32q", text)
	}
	return d
}

func (s *Server) endRotation(c call) (answer, error) {
	in := c.PathValue("mesh")
	if err := s.checkMesh(c.Context(), in); err != nil {
		return answer{}, err
	}
	if err := s.Authorities.EndRotation(c.Context(), in); err != nil {
		return answer{}, err
	}
	s.Log.Info("rotation of an authority was given up", "user", c.user.Name, "mesh", in)
	return asJSON(http.StatusOK, struct{}{})
}
