package cp

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/rest"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/signing"
)

// accessLists are the lists of those who may do something in all meshes: those
// of Kuma's access.static, by the same names, and three of our own for what is
// open to everybody there.
var accessLists = []struct {
	name  string
	gives []rest.Permission
	may   string
}{
	{"admin-resources", []rest.Permission{rest.AdminResources}, "read and write Secrets, GlobalSecrets and roles"},
	{"generate-dp-token", []rest.Permission{rest.IssueTokens}, "make dataplane and join tokens"},
	{"generate-user-token", []rest.Permission{rest.IssueUserTokens}, "make user tokens, and so become anybody"},
	{"generate-zone-token", []rest.Permission{rest.IssueZoneTokens}, "make zone tokens"},
	{"view-config-dump", []rest.Permission{rest.Inspect}, "see plans and the configuration of proxies"},
	{"view-stats", []rest.Permission{rest.ViewStats}, "see the statistics of proxies"},
	{"view-clusters", []rest.Permission{rest.ViewClusters}, "see the clusters of proxies"},
	{"control-plane-metadata", []rest.Permission{rest.ViewConfig, rest.ViewHosts}, "see the control plane's configuration and addresses"},
	{"read-resources", []rest.Permission{rest.ReadResources}, "read everything but what administrators keep"},
	{"write-resources", []rest.Permission{rest.WriteResources}, "write everything but what administrators keep"},
	{"rotate-keys", []rest.Permission{rest.Rotate}, "exchange authorities and signing keys, and revoke tokens"},
}

// bindAccess makes two flags of every list.
func (c *Config) bindAccess(fs *pflag.FlagSet) {
	c.Access = map[string]*rest.Subjects{}
	for _, l := range accessLists {
		s := new(rest.Subjects)
		c.Access[l.name] = s
		fs.StringSliceVar(&s.Users, "access-"+l.name+"-users", nil, "users who may "+l.may+", beside administrators")
		fs.StringSliceVar(&s.Groups, "access-"+l.name+"-groups", nil, "groups whose members may "+l.may+", beside administrators")
	}
}

// access is what the lists give.
func (c *Config) access() map[rest.Permission]rest.Subjects {
	all := map[rest.Permission]rest.Subjects{}
	for _, l := range accessLists {
		if s := c.Access[l.name]; s != nil {
			for _, p := range l.gives {
				all[p] = *s
			}
		}
	}
	return all
}

// publicKeys reads the keys of tokens that are signed elsewhere, each written
// kind:kid=file or dataplane:mesh:kid=file.
func (c *Config) publicKeys() (keys []token.PublicKey, err error) {
	var errs []error
	for _, text := range c.TokenPublicKeys {
		key, err := publicKey(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("token-public-keys: %q: %w", text, err))
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}

func publicKey(text string) (k token.PublicKey, err error) {
	what, file, ok := strings.Cut(text, "=")
	parts := strings.Split(what, ":")
	switch {
	case ok && len(parts) == 3 && parts[0] == token.Dataplane:
		k.Family, k.ID = token.Family{Kind: token.Dataplane, Mesh: parts[1]}, parts[2]
	case ok && len(parts) == 2 && (parts[0] == token.Zone || parts[0] == token.User):
		k.Family, k.ID = token.Family{Kind: parts[0]}, parts[1]
	default:
		return k, errors.New("must be dataplane:MESH:KID=FILE, zone:KID=FILE or user:KID=FILE")
	}
	if k.ID == "" || k.Family.Kind == token.Dataplane && k.Family.Mesh == "" || !filepath.IsAbs(file) {
		return k, errors.New("mesh and kid must not be empty, and the file's path must be absolute")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return k, err
	}
	if k.Key, err = signing.ParsePublicKey(data); err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// clientCertificates are those by which people are known as administrators on
// HTTPS: every certificate in the files *.pem and *.crt of a folder. nil: none.
func (c *Config) clientCertificates() (*x509.CertPool, error) {
	if c.APIClientCerts == "" {
		return nil, nil
	}
	pool, found := x509.NewCertPool(), 0
	for _, pattern := range []string{"*.pem", "*.crt"} {
		files, err := filepath.Glob(filepath.Join(c.APIClientCerts, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("api-client-certs: %w", err)
			}
			for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
				if block.Type != "CERTIFICATE" {
					continue
				}
				cert, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					return nil, fmt.Errorf("api-client-certs: %s: %w", file, err)
				}
				pool.AddCert(cert)
				found++
			}
		}
	}
	if found == 0 {
		return nil, fmt.Errorf("api-client-certs: no file *.pem or *.crt in %s holds a certificate", c.APIClientCerts)
	}
	return pool, nil
}

// validateTokens tells what is wrong with how tokens are configured.
func (c *Config) validateTokens(bad func(key, format string, args ...any)) {
	for _, kind := range c.TokenIssuersOff {
		if !slices.Contains([]string{token.Dataplane, token.Zone, token.User}, kind) {
			bad("tokenIssuersOff", "%q must be %q, %q or %q", kind, token.Dataplane, token.Zone, token.User)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Access)) {
		s := c.Access[name]
		if slices.Contains(s.Users, "") || slices.Contains(s.Groups, "") {
			bad("access", "the list %s has an empty name", name)
		}
	}
	for key, path := range map[string]string{"secretsKey": c.SecretsKey, "auditLog": c.AuditLog} {
		if path != "" && path != audit.ToLog && !filepath.IsAbs(path) {
			bad(key, "%q must be an absolute path", path)
		}
	}
	if c.APIClientCerts != "" && !filepath.IsAbs(c.APIClientCerts) {
		bad("apiClientCerts", "%q must be an absolute path", c.APIClientCerts)
	}
}

// verifyUser makes a user of a user's token.
func (c *ControlPlane) verifyUser(ctx context.Context, raw string) (rest.User, error) {
	claims, err := c.tokens.VerifyUser(ctx, raw)
	if errors.Is(err, token.ErrRefused) {
		return rest.User{}, fmt.Errorf("%w: %w", rest.ErrTokenRefused, err)
	}
	return rest.User{Name: claims.Name, Groups: claims.Groups}, err
}

// tokenKeys are what REST may do with the keys that sign tokens.
type tokenKeys struct{ *token.Issuer }

func (k tokenKeys) Keys(ctx context.Context, kind, mesh string) (api.SigningKeys, error) {
	keys, err := k.Issuer.Keys(ctx, token.Family{Kind: kind, Mesh: mesh})
	out := api.SigningKeys{Keys: []api.SigningKey{}}
	for _, key := range keys {
		out.Keys = append(out.Keys, api.SigningKey(key))
	}
	return out, err
}

func (k tokenKeys) RotateKey(ctx context.Context, kind, mesh string) (string, error) {
	return k.Issuer.RotateKey(ctx, token.Family{Kind: kind, Mesh: mesh})
}

func (k tokenKeys) DropKey(ctx context.Context, kind, mesh, id string) error {
	return k.Issuer.DropKey(ctx, token.Family{Kind: kind, Mesh: mesh}, id)
}

func (k tokenKeys) Revoke(ctx context.Context, kind, mesh, id string) error {
	return k.Issuer.Revoke(ctx, token.Family{Kind: kind, Mesh: mesh}, id)
}

// issued says of a token that could not be made for want of a key that the key
// was not found.
func issued(raw string, err error) (string, error) {
	if errors.Is(err, token.ErrNoSigningKey) {
		err = fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return raw, err
}
