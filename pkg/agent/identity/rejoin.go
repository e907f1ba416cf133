package identity

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/keyfile"
)

// ReadToken reads the join token in a file, which must be its owner's alone.
func ReadToken(file string) (api.JoinToken, error) {
	text, err := keyfile.Read(file)
	if err != nil {
		return api.JoinToken{}, fmt.Errorf("read the join token: %w", err)
	}
	t, err := api.ParseJoinToken(string(text))
	if err != nil {
		return t, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// rejoinIfExpired spends the token in TokenFile for a new certificate of the
// same dataplane, once the old one has expired. A host that was put out is not
// brought back by it: that is for a person to decide.
func (i *Identity) rejoinIfExpired(ctx context.Context, dataplane []byte) error {
	i.mu.Lock()
	expired := i.now().After(i.agent.leaf.NotAfter)
	i.mu.Unlock()
	if !expired || i.TokenFile == "" {
		return nil
	}
	t, err := ReadToken(i.TokenFile)
	if err != nil {
		return err
	}
	o := JoinOptions{
		Addresses: t.Addresses, Authority: t.Authority, Token: t.Token, Dataplane: dataplane,
		Mark: i.Mark, Now: i.now, Log: i.log(),
	}
	p, authority, err := o.spend(ctx)
	if err != nil {
		return err
	}
	if id, err := agentID(p.leaf); err != nil || id != i.id {
		return fmt.Errorf("the join token in %s is for %s and not for %s", i.TokenFile, id, i.id)
	}
	i.mu.Lock()
	i.agent, i.authorities = p, []*x509.Certificate{authority}
	i.unsaved[agentName] = true
	i.mu.Unlock()
	i.save()
	return nil
}
