package trust

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
)

// own is what hosts were told of the control plane's own authority.
type own struct {
	unread      bool
	authorities string
	issuer      string
	addresses   string // where control planes are
}

// tellOwn publishes whom hosts are to take for the control plane, where that has
// changed.
func (k *Keeper) tellOwn(ctx context.Context) {
	if k.Own == nil || !k.own.unread && k.own.addresses == k.addresses {
		return
	}
	if _, err := k.Own.Refresh(ctx); err != nil {
		if ctx.Err() == nil {
			k.say("", "the control plane's authority cannot be read", err.Error())
		}
		return
	}
	k.own.unread = false
	now := own{authorities: string(k.Own.Authorities()), issuer: k.Own.Fingerprint(), addresses: k.addresses}
	if now == k.own {
		return
	}
	spread := time.Second * time.Duration(1+k.Hosts()/spreadRate)
	err := k.Stream.PublishControlPlane(&hostv1.ControlPlane{
		Authorities: []byte(now.authorities), Issuer: now.issuer, Spread: durationpb.New(spread), Addresses: strings.Fields(now.addresses),
	})
	if err != nil {
		k.log().Error("hosts were not told whom to take for the control plane", "error", err)
		return
	}
	k.own = now
}

// look notes where control planes are, once there are further ones. Of one that
// has gone hosts hear with their next stream: a replica that does not reach the
// store sees no others either, and its hosts are to turn to those.
func (k *Keeper) look() {
	if k.ControlPlanes == nil {
		return
	}
	known, now := strings.Fields(k.addresses), k.ControlPlanes()
	if slices.ContainsFunc(now, func(a string) bool { return !slices.Contains(known, a) }) {
		k.addresses = strings.Join(now, " ")
	}
}

// leadOwn is lead for the control plane's own authority.
func (k *Keeper) leadOwn(ctx context.Context) {
	if k.Own == nil || k.own.unread {
		return
	}
	if k.ByAge && k.Own.Old() {
		err := k.Own.BeginRotation(ctx, ca.Options{Reason: "two thirds of the authority's life were over"})
		if err != nil && !errors.Is(err, ca.ErrRotating) && ctx.Err() == nil {
			k.say("", "rotation of the control plane's authority did not begin", err.Error())
		}
	}
	stage := k.Own.Rotates()
	if stage == "" {
		return
	}
	hosts, ready, _ := k.Stream.TakenControlPlane()
	err := k.Own.Report(ctx, k.Replica, ca.Report{At: k.now().UTC(), Stage: stage, Hosts: hosts, Ready: ready})
	var to ca.Stage
	var why string
	if err == nil {
		to, why, err = k.Own.Advance(ctx, k.Hosts())
	}
	switch {
	case err == nil && to != "":
		k.log().Info("rotation of the control plane's authority went on", "stage", string(to), "because", why)
	case err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, ca.ErrNoRotation) && ctx.Err() == nil:
		k.say("", "rotation of the control plane's authority did not go on", err.Error())
	}
}
