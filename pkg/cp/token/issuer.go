package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/signing"
)

// Store is what an Issuer needs of the control plane's store.
type Store interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	List(ctx context.Context, q store.Query) (store.Page, error)
	Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	Delete(ctx context.Context, k mesh.Key, at mesh.Version) error
}

// An Issuer makes and verifies the tokens of one store. Its methods may be
// called at once from many goroutines.
type Issuer struct {
	Store Store
	// PublicKeys verify tokens that were signed elsewhere, beside those that
	// the keys of the store have signed.
	PublicKeys []PublicKey
	// Off are the kinds of tokens that are signed elsewhere only: this Issuer
	// makes none, and takes none by keys of the store.
	Off []string
	Now func() time.Time // nil: time.Now

	keys   keyCache
	proven *proven // nil: each token is verified each time
}

// Reading returns an Issuer that is this one but for where it reads single
// resources. It is for tokens that are looked at again and again: it remembers
// the signatures that it has verified.
func (i *Issuer) Reading(get func(ctx context.Context, k mesh.Key) (mesh.Resource, error)) *Issuer {
	return &Issuer{Store: reading{i.Store, get}, PublicKeys: i.PublicKeys, Off: i.Off, Now: i.Now, proven: new(proven)}
}

type reading struct {
	Store
	get func(ctx context.Context, k mesh.Key) (mesh.Resource, error)
}

func (r reading) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) { return r.get(ctx, k) }

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
	return i.sign(ctx, Family{Dataplane, c.Mesh}, validFor, func(r jwt.RegisteredClaims) jwt.Claims {
		c.RegisteredClaims = r
		return c
	})
}

// sign makes a token of what claims returns, given its id and times.
func (i *Issuer) sign(ctx context.Context, f Family, validFor time.Duration, claims func(jwt.RegisteredClaims) jwt.Claims) (string, error) {
	if slices.Contains(i.Off, f.Kind) {
		var v mesh.Violations
		v.Add("", "this control plane issues no %s tokens (--token-issuers-off): sign them with `weftctl generate %[1]s-token`", f.Kind)
		return "", v
	}
	if validFor <= 0 {
		return "", fmt.Errorf("issue %s token: valid for %s, must be more than 0", f.Kind, validFor)
	}
	serial, key, err := i.newestKey(ctx, f)
	if err != nil {
		return "", fmt.Errorf("issue %s token: %w", f.Kind, err)
	}
	raw, err := signing.Sign(key, serial.String(), claims(signing.Registered(i.now(), validFor)))
	if err != nil {
		return "", fmt.Errorf("issue %s token: %w", f.Kind, err)
	}
	return raw, nil
}

// Verify returns what the token says once it is shown to be one of the mesh,
// in its time and not revoked. Errors about the token wrap ErrRefused, name the
// remedy and never repeat the token. They do not tell a mesh that is not there
// from a signature that is wrong.
func (i *Issuer) Verify(ctx context.Context, raw, meshName string) (Claims, error) {
	f := Family{Dataplane, meshName}
	if p := i.proven.find(raw); i.again(ctx, f, p) {
		return p.claims, nil
	}
	var c Claims
	kid, key, err := i.verify(ctx, f, raw, &c, &c.RegisteredClaims, func() error {
		if c.Mesh != "" && c.Mesh != meshName {
			return refused("it is of mesh %s, asked for was mesh %s: %s", short(c.Mesh), short(meshName), Family{Kind: Dataplane}.remedy())
		}
		return nil
	})
	if err != nil {
		return Claims{}, err
	}
	i.proven.keep(raw, proof{c, f, kid, key})
	return c, nil
}

// VerifyUser is Verify for a token of the REST API.
func (i *Issuer) VerifyUser(ctx context.Context, raw string) (UserClaims, error) {
	var c UserClaims
	if _, _, err := i.verify(ctx, Family{Kind: User}, raw, &c, &c.RegisteredClaims, nil); err != nil {
		return UserClaims{}, err
	}
	if c.Name == "" {
		return UserClaims{}, refused("it names no user: %s", Family{Kind: User}.remedy())
	}
	return c, nil
}

// VerifyZone is Verify for a token of a zone's ingress or egress.
func (i *Issuer) VerifyZone(ctx context.Context, raw string) (ZoneClaims, error) {
	var c ZoneClaims
	if _, _, err := i.verify(ctx, Family{Kind: Zone}, raw, &c, &c.RegisteredClaims, nil); err != nil {
		return ZoneClaims{}, err
	}
	return c, nil
}

// verify reads raw into claims, of which registered is a part, and returns the
// key that signed it. check is asked once claims are read and before a key is
// looked for.
func (i *Issuer) verify(ctx context.Context, f Family, raw string, claims jwt.Claims, registered *jwt.RegisteredClaims, check func() error) (kid any, key *rsa.PublicKey, err error) {
	if len(raw) > maxToken {
		return nil, nil, refused("it is longer than %d bytes", maxToken)
	}
	var failure error // ours, in words, where the parser would wrap it in its own
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(i.now),
	)
	_, err = parser.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		if check != nil {
			if failure = check(); failure != nil {
				return nil, failure
			}
		}
		kid = t.Header["kid"]
		key, failure = i.verifier(ctx, f, kid)
		return key, failure
	})
	if failure != nil {
		return nil, nil, failure
	}
	if err != nil {
		return nil, nil, explain(err, f, *registered)
	}
	if registered.ID == "" {
		return nil, nil, refused("it has no id (claim jti), by which it could be revoked: %s", f.remedy())
	}
	return kid, key, i.checkRevoked(ctx, f, registered.ID)
}

// Known verifies a token for the mesh that it names itself: whoever passes is
// worth listening to, to learn what he wants, and no more than that.
func (i *Issuer) Known(ctx context.Context, raw string) error {
	var c Claims
	if len(raw) <= maxToken { // Verify refuses the others
		if _, _, err := jwt.NewParser().ParseUnverified(raw, &c); err != nil {
			return explain(jwt.ErrTokenMalformed, Family{Kind: Dataplane}, c.RegisteredClaims)
		}
	}
	_, err := i.Verify(ctx, raw, c.Mesh)
	return err
}

// verifier returns the key that must have signed a token of the family.
func (i *Issuer) verifier(ctx context.Context, f Family, kid any) (*rsa.PublicKey, error) {
	text, _ := kid.(string)
	for _, k := range i.PublicKeys {
		if k.Family == f && k.ID == text && text != "" {
			return k.Key, nil
		}
	}
	serial, err := parseSerial(f, kid)
	if err != nil {
		return nil, err
	}
	if slices.Contains(i.Off, f.Kind) {
		return nil, wrongSignature(f)
	}
	key, err := i.key(ctx, f, serial)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, wrongSignature(f)
	case err != nil:
		return nil, fmt.Errorf("verify one of the %s: %w", f, err)
	}
	return &key.PublicKey, nil
}

func refused(why string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(why, args...))
}

func wrongSignature(f Family) error {
	if f.Kind == Dataplane {
		return refused("it was not signed by mesh %s of this control plane: %s", short(f.Mesh), f.remedy())
	}
	return refused("it was not signed as a %s token by this control plane: %s", f.Kind, f.remedy())
}

// explain turns the parser's error into words for the token's owner.
func explain(err error, f Family, c jwt.RegisteredClaims) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refused("it is no JWT: give the whole token, without `Bearer` and line breaks")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return refused("it has no end (claim exp): %s", f.remedy())
	case errors.Is(err, jwt.ErrTokenExpired):
		return refused("it expired on %s: %s", day(c.ExpiresAt), f.remedy())
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return refused("it is not valid before %s: check the clocks of the control plane and of whoever made it", day(c.NotBefore))
	default: // the signature, or its algorithm
		return wrongSignature(f)
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
