package host

import (
	"context"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Labels of a Dataplane that a host registered. They say whose it is, so that
// two hosts of one name do not replace each other: a host that joined apart has
// another Join, a copy of a host's disk another machine.
const (
	JoinLabel    = "weft.io/join"
	MachineLabel = "weft.io/machine"
)

// goneAfter is how long a host must have had no stream to be taken for gone.
const goneAfter = time.Minute

// A caller is what a host says of itself beside its certificate. It is believed
// where that has it refused, and nowhere else.
type caller struct{ machine, boot, from string }

func callerOf(ctx context.Context) (c caller) {
	md, _ := metadata.FromIncomingContext(ctx)
	for header, to := range map[string]*string{hostv1.MachineHeader: &c.machine, hostv1.BootHeader: &c.boot} {
		if v := md.Get(header); len(v) == 1 && len(v[0]) <= 64 {
			*to = v[0]
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		c.from = p.Addr.String()
	}
	return c
}

// held returns dp as the caller's.
func held(dp mesh.Resource, g Grant, c caller) mesh.Resource {
	dp.Meta.Labels = maps.Clone(dp.Meta.Labels)
	if dp.Meta.Labels == nil {
		dp.Meta.Labels = map[string]string{}
	}
	for label, value := range map[string]string{JoinLabel: g.Join, MachineLabel: c.machine} {
		delete(dp.Meta.Labels, label)
		if value != "" {
			dp.Meta.Labels[label] = value
		}
	}
	return dp
}

// holds says whether the stored Dataplane is the caller's. One that nobody
// registered, or that was put by hand, is anybody's who may be it.
func holds(dp mesh.Resource, g Grant, c caller) error {
	join, machine := dp.Meta.Labels[JoinLabel], dp.Meta.Labels[MachineLabel]
	switch {
	case join == "" || g.Join == "":
		return nil
	case join != g.Join:
		return fmt.Errorf("%w: another host joined as %s %s and has it: %s", ErrHeld, quote(g.ID), order(g.Join, join), otherName(g))
	case differ(machine, c.machine):
		return copied(g)
	}
	return nil
}

// mayHold says whether the caller may have the stored Dataplane from now on:
// when it is the caller's already, or when its host is not there any more and
// did not join later.
func (a *Auth) mayHold(dp mesh.Resource, g Grant, c caller) error {
	join, machine := dp.Meta.Labels[JoinLabel], dp.Meta.Labels[MachineLabel]
	if join == "" || g.Join == "" {
		return nil
	}
	if other := a.seats.other(g, c, nil); other != nil {
		return other.refuse(g)
	}
	same := machine != "" && machine == c.machine
	switch {
	case join == g.Join && !differ(machine, c.machine):
		return nil
	case join > g.Join:
		return holds(dp, g, c)
	case same: // joined again
		return nil
	case a.gone(g):
		a.log().Warn("host took over a dataplane", "dataplane", g.ID, "from", c.from, "machine", c.machine, "was_machine", machine, "joined_again", join != g.Join)
		return nil
	case join == g.Join:
		return copied(g)
	}
	return fmt.Errorf("%w: another host registered %s and may come back: %s", ErrHeld, quote(g.ID), otherName(g))
}

// gone says whether nobody is, nor was a moment ago, connected by that name.
func (a *Auth) gone(g Grant) bool {
	if a.Elsewhere != nil && a.Elsewhere(g.ID) {
		return false
	}
	return a.seats.quiet(g.ID, a.now(), goneAfter)
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }

func order(mine, other string) string {
	if other > mine {
		return "after this one"
	}
	return "before this one"
}

func otherName(g Grant) string {
	return fmt.Sprintf("join this host under another --name, or, where the other is gone for good, free the name with `weftctl delete dataplane %s --mesh %s` and join again", g.ID.Name, g.ID.Mesh)
}

func copied(g Grant) error {
	return fmt.Errorf("%w: this host's identity was copied from another machine, which is %s: on the copy stop the agent, empty its state folder and join under another --name; images are made before joining",
		ErrHeld, quote(g.ID))
}
