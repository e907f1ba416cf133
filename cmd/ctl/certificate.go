package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// certificateLife is kumactl's: ten years. Whoever wants less has an authority.
const certificateLife = 10 * 365 * 24 * time.Hour

// certificateOptions are kumactl's, with its defaults.
type certificateOptions struct {
	use, keyType, certFile, keyFile string
	hostnames                       []string
}

func tlsCertificateCommand(g *global) *cobra.Command {
	var o certificateOptions
	cmd := &cobra.Command{
		Use:   "tls-certificate",
		Short: "Make a key and a certificate that it signs itself",
		Long: `Makes a key and a certificate that it signs itself, for a server (a control
plane's own port) or a client (--api-client-certs). Files that are there are
left alone. "-" as file is standard output.`,
		Example: "  weftctl generate tls-certificate --type server --hostname cp.example.com --hostname 192.0.2.1",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return g.tlsCertificate(o) },
	}
	cmd.Flags().StringVar(&o.use, "type", "", "client or server")
	cmd.Flags().StringVar(&o.keyType, "key-type", "rsa", "rsa or ecdsa")
	cmd.Flags().StringSliceVar(&o.hostnames, "hostname", nil, "name or address of the server; may be given again")
	cmd.Flags().StringVar(&o.certFile, "cert-file", "cert.pem", "where the certificate is written")
	cmd.Flags().StringVar(&o.keyFile, "key-file", "key.pem", "where the key is written, for its owner alone")
	_ = cmd.MarkFlagRequired("type")
	return cmd
}

func (g *global) tlsCertificate(o certificateOptions) error {
	template := &x509.Certificate{
		NotBefore: g.now().Add(-5 * time.Minute), NotAfter: g.now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	switch {
	case o.use != "client" && o.use != "server":
		return fmt.Errorf("--type: %q is not client or server", o.use)
	case o.use == "server" && len(o.hostnames) == 0:
		return errors.New("--hostname: a server needs at least one")
	case o.use == "server":
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
		template.Subject = pkix.Name{CommonName: o.hostnames[0]}
	default:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		template.Subject = pkix.Name{CommonName: "weftctl"}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.hostnames))) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key, err := newKey(o.keyType)
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return fault{err}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fault{err}
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fault{err}
	}
	for _, f := range []struct {
		name string
		mode os.FileMode
		what *pem.Block
	}{
		{o.keyFile, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: private}},
		{o.certFile, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: cert}},
	} {
		if err := g.write(f.name, f.mode, pem.EncodeToMemory(f.what)); err != nil {
			return fault{err}
		}
	}
	return nil
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("--key-type: %q is not rsa or ecdsa", kind)
	}
}

// write makes a file; "-" is standard output.
func (g *global) write(name string, mode os.FileMode, text []byte) error {
	if name == "-" {
		_, err := g.out.Write(text)
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		_, err = io.WriteString(g.out, name+" written\n")
	}
	return err
}
