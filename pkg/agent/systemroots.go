package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"sync"
	"time"
)

// systemRoots are where hosts keep the authorities that they trust, as the
// distributions have it; the first that is there counts. Source: their packages
// ca-certificates, and Go's crypto/x509.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Gentoo
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
	"/etc/pki/tls/certs/ca-bundle.crt",                  // RHEL 6
	"/etc/ssl/ca-bundle.pem",                            // SUSE
	"/etc/pki/tls/cacert.pem",                           // OpenELEC
	"/etc/ssl/cert.pem",                                 // Alpine
}

// A rootsFile gives what a file of authorities holds, and reads it again when
// it is another one.
type rootsFile struct {
	paths []string
	log   *slog.Logger

	mu      sync.Mutex
	path    string
	changed time.Time
	pem     []byte
	version string
	failed  bool
}

// read returns the authorities and a hash of them, nothing where there are none.
func (f *rootsFile) read() (pem []byte, version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if path == f.path && info.ModTime().Equal(f.changed) {
			return f.pem, f.version
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			f.log.Warn("authorities of this host were not read", "file", path, "error", err)
			continue
		}
		sum := sha256.Sum256(pem)
		f.path, f.changed, f.pem, f.version, f.failed = path, info.ModTime(), pem, hex.EncodeToString(sum[:8]), false
		return f.pem, f.version
	}
	if !f.failed {
		f.failed = true
		f.log.Warn("this host has no file of authorities: servers outside of the mesh are not trusted unless their ExternalService names a caCert", "looked_for", f.paths)
	}
	f.path, f.pem, f.version = "", nil, ""
	return nil, ""
}
