package agent

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"os"
	"sync"
)

// A pairFile gives a certificate and its key out of two files of the host's
// owner. It reads them each time that it is asked, and goes on with what it had
// while they do not fit each other, as in the middle of an exchange.
type pairFile struct {
	cert, key string // paths; "" for none
	log       *slog.Logger

	mu      sync.Mutex
	certPEM []byte
	keyPEM  []byte
	version string
	failed  bool
}

// read returns both and a hash of them, nothing where there are none.
func (f *pairFile) read() (cert, key []byte, version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cert == "" {
		return nil, nil, ""
	}
	cert, err := os.ReadFile(f.cert)
	if err == nil {
		key, err = os.ReadFile(f.key)
	}
	if err == nil {
		_, err = tls.X509KeyPair(cert, key)
	}
	if err != nil {
		if !f.failed {
			f.log.Warn("certificate for metrics was not read", "cert", f.cert, "key", f.key, "error", err)
		}
		f.failed = true
		return f.certPEM, f.keyPEM, f.version
	}
	h := sha256.New()
	h.Write(cert)
	h.Write(key)
	f.certPEM, f.keyPEM, f.version, f.failed = cert, key, hex.EncodeToString(h.Sum(nil)[:8]), false
	return f.certPEM, f.keyPEM, f.version
}
