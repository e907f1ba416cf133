package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// pool holds whom this host takes for the control plane.
func (i *Identity) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.authorities {
		pool.AddCert(c)
	}
	return pool
}

// authoritiesPEM is called with the lock.
func (i *Identity) authoritiesPEM() (all []byte) {
	for _, c := range i.authorities {
		all = append(all, certPEM(c)...)
	}
	return all
}

// TakeControlPlane puts in force whom this host takes for the control plane, in
// PEM, and makes Run ask for another certificate of the agent's within spread,
// unless the present one is of the issuer: the SHA-256 of its
// SubjectPublicKeyInfo, in hex. done is called once both is so and on disk, unless
// another call came since.
func (i *Identity) TakeControlPlane(authorities []byte, issuer string, spread time.Duration, done func()) error {
	if !slices.Contains(fingerprints(authorities), issuer) {
		return errors.New("the control plane's authorities: the one that signs is not among them")
	}
	i.mu.Lock()
	changed := !bytes.Equal(i.authoritiesPEM(), authorities)
	if changed {
		i.authorities = certs(authorities)
		i.unsaved[agentName] = true
	}
	i.anewAgent = anew{authority: issuer, at: i.now().Add(rand.N(max(spread, time.Nanosecond))), done: done}
	i.mu.Unlock()
	if changed {
		i.log().Info("control plane's authorities changed", "dataplane", i.id.String(), "authorities", fingerprints(authorities), "signs", issuer)
		i.save()
	}
	i.settleAgent()
	i.poke()
	return nil
}

// settleAgent tells that the wanted certificate of the agent's is there, and on
// disk: else this host could not find back after a restart.
func (i *Identity) settleAgent() {
	i.mu.Lock()
	want := i.anewAgent
	well := want.authority != "" && !i.unsaved[agentName] && issuer(i.agent, i.authoritiesPEM()) == want.authority
	if well {
		i.anewAgent = anew{}
	}
	i.mu.Unlock()
	if well {
		want.done()
	}
}

const (
	// lookTime bounds the look at one control plane.
	lookTime = time.Second
	// lookNext is after how long without an answer the next one is asked as well.
	lookNext = 250 * time.Millisecond
)

// Look looks for a control plane that reaches its store, other than the one that
// was heard last: within spread, so that hosts that were told at once do not come
// at once. The next Dial tries the one that was found first.
func (i *Identity) Look(ctx context.Context, spread time.Duration) bool {
	if spread > 0 {
		sleep(ctx, rand.N(spread), nil)
	}
	i.mu.Lock()
	last := i.last
	i.mu.Unlock()
	others := slices.DeleteFunc(i.order(), func(a string) bool { return a == last })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sees := make(chan string, len(others)) // "": one that does not
	ask := func(address string) {
		if !i.sees(ctx, address) {
			address = ""
		}
		sees <- address
	}
	for asked, answers := 0, 0; answers < len(others); {
		if asked < len(others) {
			go ask(others[asked])
			asked++
		}
		var late <-chan time.Time
		if asked < len(others) {
			late = time.After(lookNext)
		}
		select {
		case address := <-sees:
			if address != "" {
				i.mu.Lock()
				i.next = address
				i.mu.Unlock()
				return true
			}
			answers++
		case <-late:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// sees asks one control plane whether it reaches its store.
func (i *Identity) sees(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	conn, err := dial([]string{address}, i.TLSConfig(), i.Mark, tellHost()...)
	if err != nil {
		return false
	}
	defer conn.Close()
	resp, err := hostv1.NewHostClient(conn).Sight(ctx, &hostv1.SightRequest{})
	return err == nil && resp.GetSees()
}
