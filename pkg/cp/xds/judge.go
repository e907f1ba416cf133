package xds

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Judge looks again at the credentials of all streams of a mesh, and ends those
// that are not good any more. Call it when tokens were revoked or keys changed.
func (s *Server) Judge(mesh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.proxies {
		if id.Mesh != mesh {
			continue
		}
		for _, st := range e.streams {
			st.look.Reset(0)
		}
	}
}

// lookAgain judges the stream, and again and again until it ends: a stream can
// outlive what it was opened with. Between two looks nobody waits, who would
// take a stack.
func (st *stream) lookAgain() {
	if st.judge(); st.ctx.Err() == nil {
		st.look.Reset(st.s.judgeEvery)
	}
}

// verdicts are the answers that end a stream. Others, of a store that is away
// above all, say nothing about the proxy.
var verdicts = []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.NotFound}

func (st *stream) judge() {
	select {
	case st.s.judging <- struct{}{}:
		defer func() { <-st.s.judging }()
	case <-st.ctx.Done():
		return
	}
	err := st.s.auth.ProxyAgain(st.ctx, st.id)
	switch {
	case err == nil || st.ctx.Err() != nil:
	case slices.Contains(verdicts, status.Code(statusOf(err, unauthenticated))):
		st.s.log.Warn("proxy's credential is not good any more", "proxy", st.id, "error", err)
		st.end(statusOf(err, unauthenticated))
	default:
		st.s.log.Warn("proxy's credential could not be looked at again", "proxy", st.id, "error", err)
	}
}
