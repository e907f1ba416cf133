package rest

import (
	"net/http"
	"sync"

	"github.com/weft-mesh/weft/pkg/api/openapi"
)

// described is the route that describes all others and itself.
func (s *Server) described(all []route) route {
	self := route{"GET /openapi.json", ViewAbout, "read the description of this interface", "Could not describe the interface", nil}
	document := sync.OnceValues(func() ([]byte, error) {
		var rs []openapi.Route
		for _, r := range append(all[:len(all):len(all)], self) {
			rs = append(rs, openapi.Route{Pattern: r.pattern, Does: r.action})
		}
		return openapi.Document(s.Info.Version, rs)
	})
	self.serve = func(call) (answer, error) {
		body, err := document()
		return answer{status: http.StatusOK, contentType: "application/json", body: body}, err
	}
	return self
}
