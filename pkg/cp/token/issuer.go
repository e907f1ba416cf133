package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Store is what an Issuer needs of the control plane's store.
type Store interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	List(ctx context.Context, q store.Query) (store.Page, error)
	Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	Delete(ctx context.Context, k mesh.Key, at mesh.Version) error
}

// An Issuer makes and verifies the dataplane tokens of all meshes of one store.
// Its methods may be called at once from many goroutines.
type Issuer struct {
	Store Store
	Now   func() time.Time // nil: time.Now

	keys keyCache
}

// skew is how far a token is dated back, so that a verifier whose clock is a
// little behind accepts it at once.
const skew = 5 * time.Second

// maxToken bounds what is parsed: a token with a hundred tags has 8 kB.
const maxToken = 16 << 10

func (i *Issuer) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

// Issue signs a token with the newest key of the mesh that the claims name. It
// fails with ErrNoSigningKey where Ensure was never called. Its id and times are
// set here, whatever the claims say.
func (i *Issuer) Issue(ctx context.Context, c Claims, validFor time.Duration) (string, error) {
	if c.Mesh == "" {
		return "", errors.New("issue dataplane token: no mesh named")
	}
	if validFor <= 0 {
		return "", fmt.Errorf("issue dataplane token: valid for %s, must be more than 0", validFor)
	}
	serial, key, err := i.newestKey(ctx, c.Mesh)
	if err != nil {
		return "", fmt.Errorf("issue dataplane token: %w", err)
	}
	now := i.now()
	c.RegisteredClaims = jwt.RegisteredClaims{
		ID:        uuid.NewString(),
		IssuedAt:  jwt.NewNumericDate(now.Add(-skew)),
		NotBefore: jwt.NewNumericDate(now.Add(-skew)),
		ExpiresAt: jwt.NewNumericDate(now.Add(validFor)),
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	t.Header["kid"] = serial.String()
	raw, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("issue dataplane token of mesh %q: %w", c.Mesh, err)
	}
	return raw, nil
}

// Verify returns what the token says once it is shown to be one of the mesh,
// in its time and not revoked. Errors about the token wrap ErrRefused, name the
// remedy and never repeat the token. They do not tell a mesh that is not there
// from a signature that is wrong.
func (i *Issuer) Verify(ctx context.Context, raw, meshName string) (Claims, error) {
	if len(raw) > maxToken {
		return Claims{}, refused("it is longer than %d bytes", maxToken)
	}
	var c Claims
	var failure error // ours, in words, where the parser would wrap it in its own
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(i.now),
	)
	_, err := parser.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		var key *rsa.PublicKey
		key, failure = i.verifier(ctx, c, t.Header["kid"], meshName)
		return key, failure
	})
	if failure != nil {
		return Claims{}, failure
	}
	if err != nil {
		return Claims{}, explain(err, c, meshName)
	}
	if err := i.checkRevoked(ctx, meshName, c.ID); err != nil {
		return Claims{}, err
	}
	return c, nil
}

// Known verifies a token for the mesh that it names itself: whoever passes is
// worth listening to, to learn what he wants, and no more than that.
func (i *Issuer) Known(ctx context.Context, raw string) error {
	var c Claims
	if len(raw) <= maxToken { // Verify refuses the others
		if _, _, err := jwt.NewParser().ParseUnverified(raw, &c); err != nil {
			return explain(jwt.ErrTokenMalformed, c, "")
		}
	}
	_, err := i.Verify(ctx, raw, c.Mesh)
	return err
}

// verifier returns the key that must have signed a token of the mesh.
func (i *Issuer) verifier(ctx context.Context, c Claims, kid any, meshName string) (*rsa.PublicKey, error) {
	if c.Mesh != "" && c.Mesh != meshName {
		return nil, refused("it is of mesh %s, asked for was mesh %s: %s", short(c.Mesh), short(meshName), remedy)
	}
	serial, err := parseSerial(kid)
	if err != nil {
		return nil, err
	}
	key, err := i.key(ctx, meshName, serial)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, wrongSignature(meshName)
	case err != nil:
		return nil, fmt.Errorf("verify dataplane token of mesh %s: %w", short(meshName), err)
	}
	return &key.PublicKey, nil
}

const remedy = "make a new one on the control plane with `weftctl join-token` or `weftctl token dataplane`"

func refused(why string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(why, args...))
}

func wrongSignature(meshName string) error {
	return refused("it was not signed by mesh %s of this control plane: %s", short(meshName), remedy)
}

// explain turns the parser's error into words for the token's owner.
func explain(err error, c Claims, meshName string) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refused("it is no JWT: give the whole token, without `Bearer` and line breaks")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return refused("it has no end (claim exp): %s", remedy)
	case errors.Is(err, jwt.ErrTokenExpired):
		return refused("it expired on %s: %s", day(c.ExpiresAt), remedy)
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return refused("it is not valid before %s: check the clocks of the control plane and of whoever made it", day(c.NotBefore))
	default: // the signature, or its algorithm
		return wrongSignature(meshName)
	}
}

func day(d *jwt.NumericDate) string {
	if d == nil {
		return "an unknown day"
	}
	return d.UTC().Format("2006-01-02 15:04:05 UTC")
}

// short quotes a name that a stranger sent, so that it fits one log line.
func short(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Sprintf("%q", name)
}
