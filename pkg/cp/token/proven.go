package token

import (
	"context"
	"crypto/rsa"
	"sync"
)

// maxProven bounds how many tokens are remembered: as many as one control plane
// has streams of proxies without an agent.
const maxProven = 10_000

// proven remembers tokens whose signature was verified, so that a stream which is
// looked at each minute costs no arithmetic. What may change is asked each time.
type proven struct {
	mu  sync.Mutex
	all map[string]proof // by the whole token
}

// A proof is what a verified token says, and by which key it was signed.
type proof struct {
	claims Claims
	family Family
	kid    any
	key    *rsa.PublicKey // as keyCache has it: another Secret is another key
}

// find returns the proof of a token; the zero value where there is none. A nil
// proven remembers nothing.
func (p *proven) find(raw string) proof {
	if p == nil {
		return proof{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[raw]
}

func (p *proven) keep(raw string, by proof) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil || len(p.all) >= maxProven {
		p.all = map[string]proof{}
	}
	p.all[raw] = by
}

// again tells whether a token that was verified is good now; where it may not be,
// verifying it says why.
func (i *Issuer) again(ctx context.Context, f Family, p proof) bool {
	now := i.now()
	if p.key == nil || p.family != f || !now.Before(p.claims.ExpiresAt.Time) || p.claims.NotBefore != nil && now.Before(p.claims.NotBefore.Time) {
		return false
	}
	if key, err := i.verifier(ctx, f, p.kid); err != nil || key != p.key {
		return false
	}
	return i.checkRevoked(ctx, f, p.claims.ID) == nil
}
