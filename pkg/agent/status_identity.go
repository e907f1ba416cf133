package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// silence is for how long no control plane must have been heard to be worth
// telling with the certificate.
const silence = time.Minute

func certificateCheck(i identity.Status, now time.Time) Check {
	c := Check{Name: "certificate", Remedy: "the control plane renews it as soon as it answers; see below"}
	w := i.Workload
	away := now.Sub(i.Heard)
	switch {
	case i.PutOut != "":
		c.Text = "deleted, as this host was put out of the mesh: " + i.PutOut
		c.Remedy = "if it should be in it: stop the agent, and join again: weft-agent join TOKEN with a new token of weftctl join-token"
	case i.Agent.Expired:
		c.Text = "the agent's own has expired on " + i.Agent.Expires.UTC().Format(time.DateTime)
		c.Remedy = "join again: weft-agent join TOKEN with a new token of weftctl join-token"
	case w.Expires.IsZero() && i.Registered:
		c.OK, c.Text = true, "none: the mesh has no mTLS"
	case w.Expires.IsZero():
		c.Text = "none yet"
	case w.Expired && i.FailClosed:
		c.Text = "EXPIRED on " + w.Expires.UTC().Format(time.DateTime) + ": peers refuse this host, as the mesh fails closed"
	case w.Expired:
		c.Text = "EXPIRED on " + w.Expires.UTC().Format(time.DateTime) + ": only peers that hear no control plane either still let this host in"
	default:
		c.OK, c.Text = true, fmt.Sprintf("%s, good for %s, renewed in %s; lasts at least %s without a control plane", w.URIs[0], until(now, w.Expires), until(now, w.Renewal), span(i.RidesOut))
		if now.After(w.Renewal) && away > silence {
			c.OK = false
			c.Text = fmt.Sprintf("%s, good for %s, NOT RENEWED for want of a control plane since %s", w.URIs[0], until(now, w.Expires), clock(w.Renewal))
		}
	}
	switch {
	case i.Grace:
		c.OK = false
		c.Text += fmt.Sprintf("; EXPIRED CERTIFICATES OF PEERS ARE LET IN, as no control plane was heard for %s, until one is or the authority ends on %s", span(away), i.GraceUntil.UTC().Format(time.DateOnly))
	case away > silence && !i.GraceFrom.IsZero():
		c.Text += fmt.Sprintf("; no control plane for %s: from %s on, expired certificates of peers are let in", span(away), clock(i.GraceFrom))
	case away > silence && i.FailClosed && !w.Expired:
		c.Text += fmt.Sprintf("; no control plane for %s: peers refuse this host from %s on, as the mesh fails closed", span(away), clock(w.Expires))
	}
	return c
}

// keptKeysChecks has a check where the files of the identity need somebody's eye.
func keptKeysChecks(i identity.Status, dir string) []Check {
	c := Check{Name: "identity", OK: i.Unsaved == "", Remedy: "make room in " + dir + ", which must be writable and the agent's alone; the agent goes on trying"}
	var texts []string
	if i.Unsaved != "" {
		texts = append(texts, "the newest certificates are not on disk, and would be lost by a restart without a control plane: "+i.Unsaved)
	}
	for _, p := range i.PassedOver {
		texts = append(texts, "passed over "+p)
	}
	if len(texts) == 0 {
		return nil
	}
	c.Text = strings.Join(texts, "; ")
	return []Check{c}
}

// A TLSStatus counts Envoy's connections since its start by what was
// negotiated.
type TLSStatus struct {
	Versions     map[string]int64 `json:"versions,omitempty"`     // as "TLSv1.3"
	KeyExchanges map[string]int64 `json:"keyExchanges,omitempty"` // as "X25519MLKEM768"
}

// tlsOf asks Envoy. One that does not answer has no connections.
func tlsOf(ctx context.Context, admin *envoy.Admin) (s TLSStatus) {
	stats, err := admin.Stats(ctx, `\.ssl\.(versions|curves)\.`)
	if err != nil {
		return s
	}
	s.Versions, s.KeyExchanges = map[string]int64{}, map[string]int64{}
	for name, n := range stats {
		if _, version, ok := strings.Cut(name, ".ssl.versions."); ok {
			s.Versions[version] += n
		}
		if _, curve, ok := strings.Cut(name, ".ssl.curves."); ok {
			s.KeyExchanges[curve] += n
		}
	}
	return s
}

func tlsCheck(s TLSStatus) Check {
	c := Check{Name: "tls", OK: true, Text: "between proxies TLS 1.3, by X25519MLKEM768, or X25519 where a peer lacks that"}
	if counts := append(counted(s.Versions), counted(s.KeyExchanges)...); len(counts) > 0 {
		c.Text += "; connections so far: " + strings.Join(counts, ", ")
	}
	return c
}

// counted is what was met, the most first.
func counted(of map[string]int64) (out []string) {
	var names []string
	for name, n := range of {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if of[a] != of[b] {
			return int(of[b] - of[a])
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		out = append(out, fmt.Sprintf("%s %d", name, of[name]))
	}
	return out
}
