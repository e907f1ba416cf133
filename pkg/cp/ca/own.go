package ca

import (
	"cmp"
	"context"
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
	"slices"
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
	// Store keeps the authority, for all control planes on it and sealed like
	// other secrets; nil: it is in the two files, and cannot be exchanged.
	Store Store
	// Claim returns the fingerprint that was claimed first on the store, by those
	// that still had their authority in files; nil: there is nothing to claim.
	Claim func(ctx context.Context, fingerprint string) (first string, err error)
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
	dir  string

	mu     sync.Mutex
	state  ownState // as it is stored; zero where the files keep it
	keys   ownKeys
	server server
}

// An ownKeys is what the authority is at one moment: two of them, while one is
// exchanged for the other.
type ownKeys struct {
	signer  authority
	trusted []*x509.Certificate // by whom agents' certificates may be
	// former is the authority before, and cross the signer's certificate by it:
	// the way for those who know no other. nil: there was none.
	former, cross *x509.Certificate
}

// chain is what is shown behind a server's certificate, DER. A host that pins
// the signer takes the last that has its key, which must be the self-signed one.
func (k ownKeys) chain() [][]byte {
	if k.cross == nil {
		return [][]byte{k.signer.cert.Raw}
	}
	return [][]byte{k.cross.Raw, k.signer.cert.Raw, k.former.Raw}
}

// OpenOwn opens the authority, and makes it at the first start: ECDSA P-256, for
// ten years. It is in the store where there is one; there the files ca.key and
// ca.crt of dir are taken over that an older version has left. Without a store it
// is in these files; it fails with keyfile.ErrExposed where others could have
// read the key. A lost ca.crt is made again from the key; hosts do not notice,
// since they pin the key.
func OpenOwn(ctx context.Context, dir string, opts OwnOptions) (*Own, error) {
	if opts.Addresses == nil {
		opts.Addresses = localAddresses
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	o := &Own{opts: opts, dir: dir}
	if err := o.begin(ctx); err != nil {
		return nil, fmt.Errorf("open the control plane's authority: %w", err)
	}
	return o, nil
}

func (o *Own) keyPath() string  { return filepath.Join(o.dir, "ca.key") }
func (o *Own) certPath() string { return filepath.Join(o.dir, "ca.crt") }

func (o *Own) begin(ctx context.Context) error {
	if o.opts.Store != nil {
		return o.openStored(ctx)
	}
	a, err := o.openFiles()
	if err == nil {
		o.keys = ownKeys{signer: a, trusted: []*x509.Certificate{a.cert}}
	}
	return err
}

// openFiles reads the authority from its files, or makes it there.
func (o *Own) openFiles() (a authority, err error) {
	if err := o.open(&a, o.keyPath(), o.certPath()); err != nil {
		return a, err
	}
	a.root = certPEM(a.cert.Raw)
	return a, nil
}

func (o *Own) open(a *authority, keyPath, certPath string) (err error) {
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
	if a.key, err = parseSigner(keyBytes); err != nil {
		return fmt.Errorf("%s: %w", keyPath, err)
	}
	if certErr != nil {
		if certBytes, err = o.makeCert(a.key, certPath); err != nil {
			return err
		}
	}
	if a.cert, err = parseCert(certBytes); err != nil {
		return fmt.Errorf("%s: %w", certPath, err)
	}
	if !samePublic(a.cert.PublicKey, a.key.Public()) {
		return fmt.Errorf("%s is not the certificate of %s: put the two that belong together there, or remove %s to have it made again", certPath, keyPath, certPath)
	}
	if now := o.opts.Now(); now.After(a.cert.NotAfter) {
		return fmt.Errorf("%s expired on %s: check the clock, or remove it to have it made again from the same key", certPath, a.cert.NotAfter.UTC().Format(time.DateOnly))
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

func (o *Own) makeCert(key crypto.Signer, path string) ([]byte, error) {
	cert, err := newOwnCert(key, o.opts.Now())
	if err != nil {
		return nil, err
	}
	err = keyfile.Create(path, cert)
	if errors.Is(err, fs.ErrExist) {
		return keyfile.ReadPublic(path)
	}
	return cert, err
}

// newOwnCert makes the certificate of an own authority, PEM.
func newOwnCert(key crypto.Signer, now time.Time) ([]byte, error) {
	template, err := ownTemplate(key.Public(), now, now.Add(ownLife))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return certPEM(der), err
}

// ownTemplate lets the authority sign the one after it, and nothing else that
// signs.
func ownTemplate(pub crypto.PublicKey, now, end time.Time) (*x509.Certificate, error) {
	spki, err := fingerprint(pub)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "weft control plane " + spki[:8]},
		NotBefore:             notBefore(now, ownLife),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}, nil
}

// Fingerprint is the SHA-256 of the authority's SubjectPublicKeyInfo (DER), in
// hex: what a join token carries.
func (o *Own) Fingerprint() string { return o.now().signer.fingerprint() }

// ID is the fingerprint that the authority had at first. It does not change.
func (o *Own) ID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return cmp.Or(o.state.ID, o.keys.signer.fingerprint())
}

func (o *Own) now() ownKeys {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keys
}

func fingerprint(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), err
}

// PEM is the certificate of the authority that signs now.
func (o *Own) PEM() []byte { return o.now().signer.root }

// Pool holds all that agents' certificates may be of.
func (o *Own) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range o.now().trusted {
		pool.AddCert(c)
	}
	return pool
}

// Trusts tells whether agents' certificates of that authority are good: on a
// connection that is older than the end of an exchange they may have ceased to
// be.
func (o *Own) Trusts(root *x509.Certificate) bool {
	return slices.ContainsFunc(o.now().trusted, root.Equal)
}

// SignAgent makes the certificate by which an agent is known to the control
// plane, PEM, with its chain, and with identity as its only name, for 30 days. It is for clients only:
// nobody can pass for the control plane with it.
func (o *Own) SignAgent(pub crypto.PublicKey, identity string, now time.Time) ([]byte, error) {
	u, err := uri(identity)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	by := o.now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             notBefore(now, agentLife),
		NotAfter:              earlier(now.Add(agentLife), by.signer.cert.NotAfter),
		URIs:                  []*url.URL{u},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.signer.cert, pub, by.signer.key)
	if err != nil {
		return nil, fmt.Errorf("sign agent certificate: %w", err)
	}
	if by.cross != nil {
		return append(certPEM(der), certPEM(by.cross.Raw)...), nil
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
