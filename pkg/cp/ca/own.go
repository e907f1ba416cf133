package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// How long what the control plane's own authority makes lives.
const (
	ownLife    = 10 * 365 * 24 * time.Hour
	agentLife  = 30 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
)

// OwnOptions are what an own authority needs to know. The zero value is the
// ordinary case.
type OwnOptions struct {
	// Advertise are names and addresses, host or host:port, at which hosts
	// reach this control plane beside those of its machine.
	Advertise []string
	// Addresses are the addresses of this machine; nil reads its interfaces.
	Addresses func() ([]string, error)
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: slog.Default
}

// Own is the control plane's own authority. Hosts pin its Fingerprint before
// they send anything, and are known by the certificates that it signs. Its
// methods may be called at once from many goroutines.
type Own struct {
	opts OwnOptions
	cert *x509.Certificate
	key  crypto.Signer

	mu     sync.Mutex
	server server
}

// OpenOwn loads the authority from ca.crt and ca.key in dir, or makes it there
// at first start: ECDSA P-256, for ten years. It fails with keyfile.ErrExposed
// where others could have read the key. A lost ca.crt is made again from the
// key; hosts do not notice, since they pin the key.
func OpenOwn(dir string, opts OwnOptions) (*Own, error) {
	if opts.Addresses == nil {
		opts.Addresses = localAddresses
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	o := &Own{opts: opts}
	if err := o.open(filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.crt")); err != nil {
		return nil, fmt.Errorf("open the control plane's authority: %w", err)
	}
	return o, nil
}

func (o *Own) open(keyPath, certPath string) (err error) {
	certBytes, certErr := keyfile.ReadPublic(certPath)
	if certErr != nil && !errors.Is(certErr, fs.ErrNotExist) {
		return certErr
	}
	keyBytes, err := keyfile.Read(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		if certErr == nil {
			return fmt.Errorf("%s is there but %s is not: put the key back from a backup, or remove %s to begin a new authority (every host must then join again)",
				certPath, keyPath, certPath)
		}
		keyBytes, err = o.makeKey(keyPath)
	}
	if err != nil {
		return err
	}
	if o.key, err = parseSigner(keyBytes); err != nil {
		return fmt.Errorf("%s: %w", keyPath, err)
	}
	if certErr != nil {
		if certBytes, err = o.makeCert(certPath); err != nil {
			return err
		}
	}
	if o.cert, err = parseCert(certBytes); err != nil {
		return fmt.Errorf("%s: %w", certPath, err)
	}
	if !samePublic(o.cert.PublicKey, o.key.Public()) {
		return fmt.Errorf("%s is not the certificate of %s: put the two that belong together there, or remove %s to have it made again", certPath, keyPath, certPath)
	}
	if now := o.opts.Now(); now.After(o.cert.NotAfter) {
		return fmt.Errorf("%s expired on %s: check the clock, or remove it to have it made again from the same key", certPath, o.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// makeKey keeps a new key; where another process was faster, it is that one's.
func (o *Own) makeKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	data, err := signerPEM(key)
	if err != nil {
		return nil, err
	}
	err = keyfile.Create(path, data)
	if errors.Is(err, fs.ErrExist) {
		return keyfile.Read(path)
	}
	if err != nil {
		return nil, err
	}
	o.opts.Log.Info("control plane's authority made", "key", path)
	return data, nil
}

func (o *Own) makeCert(path string) ([]byte, error) {
	now := o.opts.Now()
	spki, err := fingerprint(o.key.Public())
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "weft control plane " + spki[:8]},
		NotBefore:             notBefore(now, ownLife),
		NotAfter:              now.Add(ownLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, o.key.Public(), o.key)
	if err != nil {
		return nil, err
	}
	err = keyfile.Create(path, certPEM(der))
	if errors.Is(err, fs.ErrExist) {
		return keyfile.ReadPublic(path)
	}
	return certPEM(der), err
}

// Fingerprint is the SHA-256 of the authority's SubjectPublicKeyInfo (DER), in
// hex: what a join token carries.
func (o *Own) Fingerprint() string {
	sum := sha256.Sum256(o.cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func fingerprint(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), err
}

// PEM is the authority's certificate.
func (o *Own) PEM() []byte { return certPEM(o.cert.Raw) }

// Pool holds the authority alone.
func (o *Own) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(o.cert)
	return pool
}

// SignAgent makes the certificate by which an agent is known to the control
// plane, with identity as its only name, for 30 days. It is for clients only:
// nobody can pass for the control plane with it.
func (o *Own) SignAgent(pub crypto.PublicKey, identity string, now time.Time) ([]byte, error) {
	u, err := uri(identity)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             notBefore(now, agentLife),
		NotAfter:              earlier(now.Add(agentLife), o.cert.NotAfter),
		URIs:                  []*url.URL{u},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, o.cert, pub, o.key)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	return certPEM(der), nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func parseSigner(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("is no PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("is no private key in PEM")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("is no private key that can sign") // the cause could quote key material
	}
	return signer, nil
}

func signerPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
