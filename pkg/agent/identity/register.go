package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// registerTimeout bounds one call, so that a stuck control plane costs a try
// and not the renewal.
const registerTimeout = 15 * time.Second

// Register stores the host's Dataplane at the control plane and has the
// workload's certificate signed, for a new key. Where the agent's own
// certificate is past its half it is renewed as well. What was in force stays so
// until all of the answer has been verified. The error wraps the gRPC status.
//
// The document is remembered: Run registers it again until it is taken, and
// whenever a certificate is due.
func (i *Identity) Register(ctx context.Context, conn grpc.ClientConnInterface, dataplane []byte) error {
	i.one.Lock()
	defer i.one.Unlock()
	i.mu.Lock()
	if !bytes.Equal(i.dataplane, dataplane) {
		i.dataplane = bytes.Clone(dataplane)
		i.asked++
	}
	asked := i.asked
	renewAgent := !i.now().Before(renewal(i.agent.leaf)) || i.anewAgent.authority != ""
	i.mu.Unlock()

	err := i.register(ctx, conn, dataplane, renewAgent)

	i.mu.Lock()
	i.lastTry, i.lastError = i.now(), ""
	if err != nil {
		i.lastError = err.Error()
	} else {
		i.taken = asked
	}
	i.mu.Unlock()
	i.Heed(err)
	i.poke()
	return err
}

func (i *Identity) register(ctx context.Context, conn grpc.ClientConnInterface, dataplane []byte, renewAgent bool) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	workload, csr, err := newKey()
	if err != nil {
		return err
	}
	req := &hostv1.RegisterRequest{Dataplane: dataplane, Csr: csr}
	var agent pair
	if renewAgent {
		if agent, req.AgentCsr, err = newKey(); err != nil {
			return err
		}
	}
	resp, err := hostv1.NewHostClient(conn).Register(ctx, req)
	if err != nil {
		return fmt.Errorf("register %s: %w", i.id, refusal{err})
	}
	if len(resp.GetCertificate()) > 0 {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(resp.GetRoots())
		if workload, err = workload.certified(resp.GetCertificate(), pool, x509.ExtKeyUsageClientAuth, i.now()); err != nil {
			return fmt.Errorf("register %s: workload: %w", i.id, err)
		}
	}
	if renewAgent {
		if agent, err = agent.certified(resp.GetAgentCertificate(), i.pool(), x509.ExtKeyUsageClientAuth, i.now()); err != nil {
			return fmt.Errorf("register %s: agent: %w", i.id, err)
		}
		if id, err := agentID(agent.leaf); err != nil || id != i.id {
			return fmt.Errorf("register %s: the new agent certificate is for %s", i.id, id)
		}
	}
	i.install(workload, resp.GetRoots(), about{FailClosed: resp.GetFailClosed()}, agent)
	return nil
}

// install puts new certificates in force, and on disk where that is possible: a
// full disk must not end a host's mTLS.
func (i *Identity) install(workload pair, roots []byte, a about, agent pair) {
	i.mu.Lock()
	if agent.leaf != nil {
		i.agent = agent
		i.unsaved[agentName] = true
	}
	if workload.leaf == nil {
		workload, roots, a = pair{}, nil, about{}
	}
	i.workload, i.roots, i.about = workload, slices.Clone(roots), a
	i.unsaved[workloadName] = true
	i.tell()
	done := i.settleAnew()
	i.mu.Unlock()
	if done != nil {
		done()
	}
	i.save()
	i.settleAgent()

	attrs := []any{"dataplane", i.id.String(), "agent_renewed", agent.leaf != nil}
	if workload.leaf != nil {
		attrs = append(attrs, "identity", strings.Join(uris(workload.leaf), " "), "expires", workload.leaf.NotAfter)
	}
	i.log().Info("host registered", attrs...)
}

func (i *Identity) agentDocument() document {
	return document{key: i.agent.keyPEM, cert: i.agent.cert, roots: i.authoritiesPEM()}
}

// save writes what is not on disk yet. What fails is tried again by Run.
func (i *Identity) save() {
	i.saving.Lock()
	defer i.saving.Unlock()
	i.mu.Lock()
	agent := i.agentDocument()
	workload := document{key: i.workload.keyPEM, cert: i.workload.cert, roots: i.roots, about: i.about}
	todo := i.unsaved
	i.unsaved = map[string]bool{}
	i.mu.Unlock()

	var errs []error
	for name, d := range map[string]document{agentName: agent, workloadName: workload} {
		if !todo[name] {
			continue
		}
		var err error
		if d.key == nil {
			err = i.files.forget(name)
		} else {
			err = i.files.save(name, i.id.String(), d)
		}
		if err != nil {
			errs = append(errs, err)
			i.mu.Lock()
			i.unsaved[name] = true
			i.mu.Unlock()
		}
	}
	i.mu.Lock()
	before := i.saveFault
	i.saveFault = ""
	err := errors.Join(errs...)
	if err != nil {
		i.saveFault = err.Error()
	}
	i.mu.Unlock()
	switch {
	case err != nil && before == "":
		i.log().Warn("certificates are in force but were not saved: a restart without the control plane would lose them", "dir", i.files.dir, "error", err)
	case err == nil && before != "":
		i.log().Info("certificates saved again", "dir", i.files.dir)
	}
}

func uris(c *x509.Certificate) (texts []string) {
	for _, u := range c.URIs {
		texts = append(texts, u.String())
	}
	return texts
}

// Leave deletes the host's Dataplane at the control plane. The files stay: see
// Remove.
func (i *Identity) Leave(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	if _, err := hostv1.NewHostClient(conn).Leave(ctx, &hostv1.LeaveRequest{}); err != nil {
		return fmt.Errorf("leave as %s: %w", i.id, refusal{err})
	}
	return nil
}

// Remove deletes all that Join and Register left in dir, and nothing else. It
// succeeds when there is nothing.
func Remove(dir string) error {
	f := folder{dir: dir}
	i := &Identity{files: f}
	return errors.Join(f.forget(workloadName), f.forget(agentName), i.forgetLearned(), removeFile(i.contactFile()))
}
