package hostv1

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// putOut marks the answer to a host that is none of the mesh's any more, as
// somebody deleted its Dataplane or revoked its token. Another refusal may be
// gone with the next try; this one is not, and what the host has of the mesh is
// to go.
const putOut, domain = "PUT_OUT", "weft"

// PutOut adds the mark.
func PutOut(s *status.Status) *status.Status {
	marked, err := s.WithDetails(&errdetails.ErrorInfo{Reason: putOut, Domain: domain})
	if err != nil {
		return s // an OK status; nobody marks that
	}
	return marked
}

// IsPutOut tells whether a call failed with the mark.
func IsPutOut(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain && info.GetReason() == putOut {
			return true
		}
	}
	return false
}
