package rest

import (
	"context"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func (s *Server) overview(ctx context.Context, r mesh.Resource) ([]byte, error) {
	in, err := s.Insight(ctx, r.Meta.Mesh, r.Meta.Name)
	if err != nil {
		return nil, err
	}
	return api.EncodeOverview(r, in)
}

func (s *Server) knownOverview(_ context.Context, r mesh.Resource) ([]byte, error) {
	return api.EncodeOverview(r, s.KnownInsight(r.Meta.Mesh, r.Meta.Name))
}

// connected tells whether there is, or was, a stream to tell of.
func (s *Server) connected(r mesh.Resource) bool {
	return len(s.KnownInsight(r.Meta.Mesh, r.Meta.Name).Subscriptions) > 0
}

func (s *Server) knownInsight(_ context.Context, r mesh.Resource) ([]byte, error) {
	return api.EncodeInsight(r, s.KnownInsight(r.Meta.Mesh, r.Meta.Name))
}

// zoneOverview writes what belongs to zones. Zones do not join yet, so there is
// no insight of them.
func zoneOverview(field string) writing {
	return func(_ context.Context, r mesh.Resource) ([]byte, error) { return api.EncodeZoneOverview(r, field) }
}

func (s *Server) insight(ctx context.Context, r mesh.Resource) ([]byte, error) {
	in, err := s.Insight(ctx, r.Meta.Mesh, r.Meta.Name)
	if err != nil {
		return nil, err
	}
	return api.EncodeInsight(r, in)
}
