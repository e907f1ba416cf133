package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// server is the certificate that the control plane shows, and what it was made
// of. It is not kept on disk: hosts know its authority, not itself.
type server struct {
	cert   *tls.Certificate
	by     *x509.Certificate // who signed it
	names  []string          // sorted; nil when there is none yet
	looked time.Time
}

// lookEvery is how long the machine's addresses are taken to be the same. A
// connection to an address that the certificate lacks is looked into at once.
const lookEvery = time.Minute

// GetCertificate is what the servers' tls.Config asks. The certificate is valid
// for every address of this machine, its host name, localhost and what is
// advertised; it is made anew at half of its 90 days, and when one of those
// changes. Its chain holds the authority, so that a joining host can pin it, and
// the one before that with what leads from it, for those that know no other.
func (o *Own) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.opts.Now()
	s := &o.server
	fresh := s.cert != nil && s.by == o.keys.signer.cert && now.Before(half(s.cert.Leaf)) && !now.Before(s.cert.Leaf.NotBefore)
	since := now.Sub(s.looked)
	if fresh && since >= 0 && since < lookEvery && s.covers(hello) {
		return s.cert, nil
	}
	names, err := o.names()
	if err != nil && s.cert != nil {
		o.opts.Log.Warn("local addresses not read; the server certificate stays as it is", "error", err)
		names = s.names
	} else if err != nil {
		return nil, err
	}
	s.looked = now
	if fresh && slices.Equal(names, s.names) {
		return s.cert, nil
	}
	cert, err := o.signServer(names, now)
	if err != nil {
		return nil, err
	}
	s.cert, s.by, s.names = cert, o.keys.signer.cert, names
	o.opts.Log.Info("server certificate made", "names", names, "expires", cert.Leaf.NotAfter)
	return cert, nil
}

// half is when a certificate is renewed.
func half(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
}

// covers tells whether the certificate names the address that was dialled.
func (s *server) covers(hello *tls.ClientHelloInfo) bool {
	if hello == nil || hello.Conn == nil {
		return true
	}
	tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	_, found := slices.BinarySearch(s.names, tcp.AddrPort().Addr().Unmap().WithZone("").String())
	return found
}

// names are all that this control plane is reached by, sorted.
func (o *Own) names() ([]string, error) {
	local, err := o.opts.Addresses()
	if err != nil {
		return nil, fmt.Errorf("read local addresses: %w", err)
	}
	names := append([]string{"localhost", "127.0.0.1", "::1"}, local...)
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	for _, a := range o.opts.Advertise {
		if host, _, err := net.SplitHostPort(a); err == nil {
			a = host
		}
		if ip, err := netip.ParseAddr(a); err == nil {
			a = ip.Unmap().WithZone("").String()
		}
		if a != "" {
			names = append(names, a)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func localAddresses() ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone("").String())
		}
	}
	return out, nil
}

// signServer is called with the lock.
func (o *Own) signServer(names []string, now time.Time) (*tls.Certificate, error) {
	by := o.keys.signer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             notBefore(now, serverLife),
		NotAfter:              earlier(now.Add(serverLife), by.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip, err := netip.ParseAddr(n); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("sign server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign server certificate for %q: %w", names, err)
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, o.keys.chain()...), PrivateKey: key, Leaf: leaf}, nil
}
