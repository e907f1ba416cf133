package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// An Authenticator says who sends a request. It fails with ErrNoCredential or
// ErrBadCredential.
type Authenticator func(*http.Request) (User, error)

// FirstOf asks one after the other until one finds a credential, good or bad.
// The one that looks at what the client sends on purpose, a token, comes first.
func FirstOf(all ...Authenticator) Authenticator {
	return func(r *http.Request) (User, error) {
		for _, authenticate := range all {
			user, err := authenticate(r)
			if !errors.Is(err, ErrNoCredential) {
				return user, err
			}
		}
		return User{}, ErrNoCredential
	}
}

// AdminToken makes whoever knows a token an administrator. hash is the SHA-256
// of the token. The token comes as "Authorization: Bearer <token>".
func AdminToken(hash [sha256.Size]byte) Authenticator { return Bearer(hash, nil) }

// Bearer knows two kinds of "Authorization: Bearer <token>": the administrator's
// own, by its SHA-256, and users' tokens, by verify, which fails with
// ErrTokenRefused where a token is not good.
func Bearer(hash [sha256.Size]byte, verify func(ctx context.Context, raw string) (User, error)) Authenticator {
	return func(r *http.Request) (User, error) {
		sent := r.Header.Values("Authorization")
		if len(sent) == 0 {
			return User{}, ErrNoCredential
		}
		scheme, token, _ := strings.Cut(sent[0], " ")
		if len(sent) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return User{}, fmt.Errorf("%w: want one header Authorization, of scheme Bearer", ErrBadCredential)
		}
		token = strings.TrimSpace(token)
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(got[:], hash[:]) == 1 {
			return admin(), nil
		}
		if verify == nil || strings.Count(token, ".") != 2 {
			return User{}, fmt.Errorf("%w: it is not the admin token", ErrBadCredential)
		}
		user, err := verify(r.Context(), token)
		if err != nil {
			return User{}, err
		}
		if !slices.Contains(user.Groups, AuthenticatedGroup) {
			user.Groups = append(slices.Clone(user.Groups), AuthenticatedGroup)
		}
		return user, nil
	}
}

// ClientCertificate makes whoever shows a certificate that the server's TLS has
// verified an administrator.
func ClientCertificate(r *http.Request) (User, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return User{}, ErrNoCredential
	}
	return admin(), nil
}
