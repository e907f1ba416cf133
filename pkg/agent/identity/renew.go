package identity

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
)

// renewal is when a certificate is renewed: at half of its life, a tenth of that
// half sooner or later. Which it is follows from the serial number, so that
// hosts spread and every reading gives the same moment.
func renewal(c *x509.Certificate) time.Time {
	half := c.NotAfter.Sub(c.NotBefore) / 2
	var bits byte
	if b := c.SerialNumber.Bytes(); len(b) > 0 {
		bits = b[len(b)-1]
	}
	return c.NotBefore.Add(half + time.Duration(float64(half)*(float64(bits)/255-0.5)/5))
}

// due is when the control plane has to be asked next; false while nothing has
// to be asked.
func (i *Identity) due() (time.Time, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.dataplane) == 0 {
		return time.Time{}, false
	}
	if i.taken != i.asked {
		return i.now(), true
	}
	at := renewal(i.agent.leaf)
	if i.anewAgent.authority != "" && i.anewAgent.at.Before(at) {
		at = i.anewAgent.at
	}
	if i.workload.leaf != nil {
		if w := renewal(i.workload.leaf); w.Before(at) {
			at = w
		}
		if i.anew.authority != "" && i.anew.at.Before(at) {
			at = i.anew.at
		}
	}
	return at, true
}

// Renew makes Run register now, whatever the certificates' age.
func (i *Identity) Renew() {
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	i.poke()
}

func (i *Identity) poke() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Run keeps the certificates young until ctx ends. It registers over a
// connection of its own each time, which so shows the newest certificate. A
// failure is tried again, at first after a second and at last every five
// minutes, and soon after a control plane has answered on another connection.
func (i *Identity) Run(ctx context.Context) error {
	tended := make(chan struct{})
	go func() {
		defer close(tended)
		i.tend(ctx)
	}()
	defer func() { <-tended }()
	keep(ctx, i.now, i.due, i.wake, i.back, func(ctx context.Context) error {
		err := i.again(ctx)
		if err != nil && ctx.Err() == nil {
			i.log().Warn("certificates not renewed", "dataplane", i.id.String(), "error", err)
		}
		return err
	})
	return nil
}

func (i *Identity) again(ctx context.Context) error {
	i.mu.Lock()
	dataplane := i.dataplane
	i.mu.Unlock()
	err := i.rejoinIfExpired(ctx, dataplane)
	var conn *grpc.ClientConn
	if err == nil {
		conn, err = i.Dial(ctx)
	}
	if err != nil {
		i.mu.Lock()
		i.lastTry, i.lastError = i.now(), err.Error()
		i.mu.Unlock()
		return err
	}
	defer conn.Close()
	return i.Register(ctx, conn, dataplane)
}

const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// longestWait bounds how late a renewal is after the wall clock was set or
	// the machine slept: timers see neither.
	longestWait = time.Hour
	// returnSpread is over how long hosts spread that wait for certificates
	// when a control plane is back.
	returnSpread = 15 * time.Second
)

// keep calls renew whenever due says so. A renewal after which the next is due
// already counts as failed, so that a control plane whose certificates are born
// old is not asked in a loop.
func keep(ctx context.Context, now func() time.Time, due func() (time.Time, bool), wake, back <-chan struct{}, renew func(context.Context) error) {
	var retry time.Duration // what was waited after the last failure; 0 while all is well
	for ctx.Err() == nil {
		wait := longestWait
		if at, ok := due(); ok {
			wait = min(at.Sub(now()), longestWait)
		}
		if wait > 0 {
			sleep(ctx, wait, wake)
			continue
		}
		err := renew(ctx)
		if next, _ := due(); err == nil && next.After(now()) {
			retry = 0
			continue
		}
		retry = min(max(2*retry, firstRetry), lastRetry)
		if sleep(ctx, retry-rand.N(retry/5), back) {
			sleep(ctx, rand.N(min(retry, returnSpread)), nil)
			retry = 0
		}
	}
}

// sleep returns after d, or sooner when woken, which it tells, or when ctx ends.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
		return true
	case <-timer.C:
	}
	return false
}
