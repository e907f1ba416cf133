package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/api"
)

// tokens are the signing keys and revocations of all kinds of tokens: "dataplane",
// of a mesh, "zone" and "user". What is wrong with a request comes back as
// mesh.Violations.
type tokens interface {
	Keys(ctx context.Context, kind, mesh string) (api.SigningKeys, error)
	RotateKey(ctx context.Context, kind, mesh string) (id string, err error)
	DropKey(ctx context.Context, kind, mesh, id string) error
	Revoke(ctx context.Context, kind, mesh, id string) error
}

func (s *Server) tokenRoutes() (all []route) {
	const see, exchange, revoke = "see signing keys", "exchange signing keys", "revoke tokens"
	for _, of := range []struct{ at, kind string }{{"/meshes/{mesh}", "dataplane"}, {"", "zone"}, {"", "user"}} {
		at := of.at + "/_weft/tokens/" + of.kind
		all = append(all,
			route{"GET " + at + "/keys", Rotate, see, "Could not list the signing keys", s.signingKeys(of.kind)},
			route{"POST " + at + "/keys", Rotate, exchange, "Could not make a signing key", s.rotateKey(of.kind)},
			route{"DELETE " + at + "/keys/{id}", Rotate, exchange, "Could not drop the signing key", s.dropKey(of.kind)},
			route{"POST " + at + "/revocations", Rotate, revoke, "Could not revoke the token", s.revoke(of.kind)},
		)
	}
	return all
}

func (s *Server) signingKeys(kind string) func(call) (answer, error) {
	return func(c call) (answer, error) {
		in := c.PathValue("mesh")
		if err := s.checkMesh(c.Context(), in); err != nil {
			return answer{}, err
		}
		keys, err := s.Tokens.Keys(c.Context(), kind, in)
		if err != nil {
			return answer{}, err
		}
		return asJSON(http.StatusOK, keys)
	}
}

func (s *Server) rotateKey(kind string) func(call) (answer, error) {
	list := s.signingKeys(kind)
	return func(c call) (answer, error) {
		in := c.PathValue("mesh")
		if err := s.checkMesh(c.Context(), in); err != nil {
			return answer{}, err
		}
		id, err := s.Tokens.RotateKey(c.Context(), kind, in)
		if err != nil {
			return answer{}, err
		}
		s.Log.Info("signing key was made", "user", c.user.Name, "tokens", kind, "mesh", in, "id", id)
		return list(c)
	}
}

func (s *Server) dropKey(kind string) func(call) (answer, error) {
	list := s.signingKeys(kind)
	return func(c call) (answer, error) {
		in, id := c.PathValue("mesh"), c.PathValue("id")
		if err := s.checkMesh(c.Context(), in); err != nil {
			return answer{}, err
		}
		if err := s.Tokens.DropKey(c.Context(), kind, in, id); err != nil {
			return answer{}, err
		}
		s.Log.Info("signing key was dropped", "user", c.user.Name, "tokens", kind, "mesh", in, "id", id)
		return list(c)
	}
}

func (s *Server) revoke(kind string) func(call) (answer, error) {
	return func(c call) (answer, error) {
		in := c.PathValue("mesh")
		if err := s.checkMesh(c.Context(), in); err != nil {
			return answer{}, err
		}
		var req api.Revocation
		if err := read(c, &req); err != nil {
			return answer{}, err
		}
		if err := s.Tokens.Revoke(c.Context(), kind, in, req.ID); err != nil {
			return answer{}, err
		}
		s.Log.Info("token was revoked", "user", c.user.Name, "tokens", kind, "mesh", in, "id", req.ID)
		return asJSON(http.StatusOK, struct{}{})
	}
}

// read reads a body that is not stored, and refuses fields that it does not
// know.
func read(c call, into any) error {
	data, err := body(c)
	if err != nil {
		return err
	}
	if err := strictly(data, into); err != nil {
		return &api.SyntaxError{Text: err.Error()}
	}
	return nil
}

func (s *Server) dataplaneToken(c call) (answer, error) {
	var req api.DataplaneTokenRequest
	if err := read(c, &req); err != nil {
		return answer{}, err
	}
	// Nobody learns which meshes there are by asking for tokens of them.
	switch may, err := s.mayIn(c.Context(), c.user, IssueTokens, req.Mesh); {
	case err != nil:
		return answer{}, err
	case !may:
		return answer{}, denial{c.user, "generate dataplane tokens of this mesh"}
	}
	token, err := s.IssueDataplane(c.Context(), req)
	if err != nil {
		return answer{}, err
	}
	issuedToken(c, "dataplane", req.Mesh, req.Name, token, fmt.Sprint("tags: ", req.Tags), "valid for: "+req.ValidFor)
	s.Log.Info("dataplane token was issued", "user", c.user.Name, "mesh", req.Mesh, "name", req.Name, "tags", req.Tags, "valid_for", req.ValidFor)
	return asText("text/plain; charset=utf-8", []byte(token)), nil
}

func (s *Server) zoneToken(c call) (answer, error) {
	var req api.ZoneTokenRequest
	if err := read(c, &req); err != nil {
		return answer{}, err
	}
	token, err := s.IssueZone(c.Context(), req)
	if err != nil {
		return answer{}, err
	}
	issuedToken(c, "zone", "", req.Zone, token, fmt.Sprint("scope: ", req.Scope), "valid for: "+req.ValidFor)
	s.Log.Info("zone token was issued", "user", c.user.Name, "zone", req.Zone, "scope", req.Scope, "valid_for", req.ValidFor)
	return asText("text/plain; charset=utf-8", []byte(token)), nil
}

func (s *Server) userToken(c call) (answer, error) {
	var req api.UserTokenRequest
	if err := read(c, &req); err != nil {
		return answer{}, err
	}
	token, err := s.IssueUser(c.Context(), req)
	if err != nil {
		return answer{}, err
	}
	issuedToken(c, "user", "", req.Name, token, fmt.Sprint("groups: ", req.Groups), "valid for: "+req.ValidFor)
	s.Log.Info("user token was issued", "user", c.user.Name, "name", req.Name, "groups", req.Groups, "valid_for", req.ValidFor)
	return asText("text/plain; charset=utf-8", []byte(token)), nil
}
