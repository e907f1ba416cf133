// Package signing makes tokens with a key at hand: what each kind of token says,
// and the keys that sign them.
//
// Tokens are RS256 JWTs with the claims of Kuma's, so that either side takes the
// other's. Whether a token is good is decided elsewhere, see pkg/cp/token.
package signing

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// DataplaneClaims is what a dataplane token says. What is empty is not
// restricted.
type DataplaneClaims struct {
	Name     string              `json:"Name,omitempty"`
	Mesh     string              `json:"Mesh,omitempty"`
	Tags     map[string][]string `json:"Tags,omitempty"`
	Type     string              `json:"Type,omitempty"`
	Workload string              `json:"Workload,omitempty"`
	// Once: good for one joining, see token.Issuer.Spend, and for nothing else.
	Once bool `json:"Once,omitempty"`
	// ID (jti) names the token in the revocation list and in the audit log.
	jwt.RegisteredClaims
}

// ZoneClaims is what the token of a zone's ingress or egress says.
type ZoneClaims struct {
	Zone  string   `json:"Zone,omitempty"`
	Scope []string `json:"Scope,omitempty"` // "ingress", "egress"
	jwt.RegisteredClaims
}

// UserClaims is what a token of the REST API says.
type UserClaims struct {
	Name   string   `json:"Name,omitempty"`
	Groups []string `json:"Groups,omitempty"`
	jwt.RegisteredClaims
}

// skew is how far a token is dated back, so that a verifier whose clock is a
// little behind accepts it at once.
const skew = 5 * time.Second

// Registered are the claims that every token has: another id each time, from a
// little before now, for validFor.
func Registered(now time.Time, validFor time.Duration) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		ID:        uuid.NewString(),
		IssuedAt:  jwt.NewNumericDate(now.Add(-skew)),
		NotBefore: jwt.NewNumericDate(now.Add(-skew)),
		ExpiresAt: jwt.NewNumericDate(now.Add(validFor)),
	}
}

// Sign makes the token. kid tells the verifier by which key.
func Sign(key *rsa.PrivateKey, kid string, claims jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = kid
	return t.SignedString(key)
}

// NewKey makes a signing key, RSA of 2048 bits, as PEM of type RSA PRIVATE KEY.
func NewKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

// ParseKey reads what NewKey made. Its errors never quote what was read.
func ParseKey(data []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		return nil, errors.New("must be a PEM block of type RSA PRIVATE KEY")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is no RSA key in PKCS #1 form")
	}
	if err := goodSize(&key.PublicKey); err != nil {
		return nil, err
	}
	return key, nil
}

// PublicKey is the public half of a signing key, as PEM of type RSA PUBLIC KEY.
func PublicKey(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
}

// ParsePublicKey reads a public key in PEM, of type RSA PUBLIC KEY or PUBLIC
// KEY.
func ParsePublicKey(data []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("is no PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("has a PEM block of type %.32q; make one with `weftctl generate public-key`", block.Type)
	}
	public, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("is no RSA public key")
	}
	return public, goodSize(public)
}

// goodSize bounds what a verification costs, and what a forgery would.
func goodSize(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
		return fmt.Errorf("has %d bits, must be RSA of 2048 to 4096", bits)
	}
	return nil
}
