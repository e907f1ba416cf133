package host

import (
	"context"
	"strings"

	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/pkg/cp/audit"
)

// from is the address of a caller.
func from(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return "unknown"
}

// begin makes an event of a call that may change something: all but streams of
// xDS, which only read.
func begin(ctx context.Context, method string) (context.Context, *audit.Event) {
	if methods[method] == byEither {
		return ctx, nil
	}
	e := &audit.Event{From: from(ctx), Via: "host", Call: strings.TrimPrefix(method, "/")}
	return audit.Begin(ctx, e), e
}

// finish writes a call down, if something came of it. Of strangers, and of hosts
// that are refused again and again, not every try is.
func (a *Auth) finish(e *audit.Event, err error) {
	switch {
	case e == nil || err == nil && len(e.Changes) == 0:
		return
	case err == nil:
		e.Outcome = audit.Done
	default:
		tell, omitted := a.audited.Tell(e.From)
		if !tell {
			return
		}
		e.Outcome, e.Reason, e.Omitted = audit.Refused, Status(err).Error(), omitted
	}
	a.Audit.Write(e)
}

// refused logs that a caller was not let in, of one address a few times a
// minute.
func (a *Auth) refused(ctx context.Context, method string, err error) {
	if tell, omitted := a.told.Tell(from(ctx)); tell {
		a.log().Warn("caller refused on the hosts' port", "method", method, "from", from(ctx), "error", err, "not_told_before", omitted)
	}
}
