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
	return api.EncodeOverview(r, s.signed(in))
}

func (s *Server) knownOverview(_ context.Context, r mesh.Resource) ([]byte, error) {
	return api.EncodeOverview(r, s.signed(s.KnownInsight(r.Meta.Mesh, r.Meta.Name)))
}

func (s *Server) insight(ctx context.Context, r mesh.Resource) ([]byte, error) {
	in, err := s.Insight(ctx, r.Meta.Mesh, r.Meta.Name)
	if err != nil {
		return nil, err
	}
	return api.EncodeInsight(r, s.signed(in))
}

// signed says which control plane holds the streams: this one.
func (s *Server) signed(in api.DataplaneInsight) api.DataplaneInsight {
	for i := range in.Subscriptions {
		in.Subscriptions[i].ControlPlaneInstanceID = s.Info.InstanceID
	}
	return in
}
