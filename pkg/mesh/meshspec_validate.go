package mesh

import "slices"

// Validate tells everything that is wrong with it.
func (s *MeshSpec) Validate() (v Violations) {
	v = append(v, s.MTLS.validate("mtls")...)
	if s.Routing != nil && s.Routing.ZoneEgress && s.Backend() == nil {
		v.Add("routing.zoneEgress", "needs mTLS: set mtls.enabledBackend")
	}
	v = append(v, s.Constraints.validate("constraints")...)
	for i, name := range s.SkipCreatingInitialPolicies {
		if name == "" {
			v.Add(field("skipCreatingInitialPolicies", i), `must be the type of a policy, or "*" for all`)
		}
	}
	if s.MeshServices != nil {
		v = append(v, oneOf("meshServices.mode", s.MeshServices.Mode, "Disabled", "Everywhere", "ReachableBackends", "Exclusive")...)
	}
	v = append(v, s.Logging.validate("logging")...)
	v = append(v, s.Tracing.validate("tracing")...)
	return append(v, s.Metrics.validate("metrics")...)
}

func (m *MTLS) validate(path string) (v Violations) {
	if m == nil {
		return nil
	}
	if len(m.Backends) > maxBackends {
		v.Add(field(path, "backends"), "must have at most %d backends, has %d", maxBackends, len(m.Backends))
	}
	seen := map[string]bool{}
	for i := range m.Backends {
		b, at := &m.Backends[i], field(path, "backends", i)
		if b.Name != "" && seen[b.Name] {
			v.Add(field(at, "name"), "%q is the name of another backend already", b.Name)
		}
		seen[b.Name] = true
		v = append(v, b.validate(at)...)
	}
	if m.EnabledBackend != "" && !slices.ContainsFunc(m.Backends, func(b MTLSBackend) bool { return b.Name == m.EnabledBackend }) {
		v.Add(field(path, "enabledBackend"), "%q is not the name of any backend in %s", m.EnabledBackend, field(path, "backends"))
	}
	return v
}

// maxBackends is how many authorities a mesh may trust: each is in every
// handshake's bundle.
const maxBackends = 8

func (b *MTLSBackend) validateProvided(path string) (v Violations) {
	c := b.Conf
	if c == nil {
		c = new(BackendConf)
	}
	if c.CACert != nil {
		v.Add(field(path, "caCert"), `is of a backend of type "builtin"; a provided one brings its certificate`)
	}
	for _, d := range []struct {
		name   string
		source *DataSource
	}{{"cert", c.Cert}, {"key", c.Key}} {
		if d.source == nil {
			v.Add(field(path, d.name), "must be set, to a secret, a file or inline")
		}
		v = append(v, d.source.validate(field(path, d.name))...)
	}
	return v
}

func (b *MTLSBackend) validate(path string) (v Violations) {
	switch {
	case b.Name == "":
		v.Add(field(path, "name"), "must not be empty")
	case !tagValue.MatchString(b.Name):
		v.Add(field(path, "name"), `must consist of letters, digits, ".", "_", ":" and "-"`)
	}
	switch b.Type {
	case "builtin":
		if c := b.Conf; c != nil && (c.Cert != nil || c.Key != nil) {
			v.Add(field(path, "conf"), `cert and key are of a backend of type "provided"`)
		}
	case "provided":
		v = append(v, b.validateProvided(field(path, "conf"))...)
	case "":
		v.Add(field(path, "type"), `must not be empty; "builtin" makes an authority of its own`)
	default:
		v.Add(field(path, "type"), `there is no backend of type %q; use "builtin" or "provided"`, b.Type)
	}
	v = append(v, oneOf(field(path, "mode"), b.Mode, Strict, Permissive)...)
	if c := b.DpCert; c != nil {
		if c.Rotation != nil {
			v = append(v, validateExpiration(field(path, "dpCert.rotation.expiration"), c.Rotation.Expiration)...)
		}
		v = append(v, validateDuration(field(path, "dpCert.requestTimeout"), c.RequestTimeout)...)
		v = append(v, oneOf(field(path, "dpCert.withoutControlPlane"), c.WithoutControlPlane, Grace, FailClosed)...)
	}
	if b.RootChain != nil {
		v = append(v, validateDuration(field(path, "rootChain.requestTimeout"), b.RootChain.RequestTimeout)...)
	}
	if b.Conf != nil && b.Conf.CACert != nil {
		c, at := b.Conf.CACert, field(path, "conf.caCert")
		if c.RSAbits != 0 && (c.RSAbits < 2048 || c.RSAbits > 4096) {
			v.Add(field(at, "RSAbits"), "must be between 2048 and 4096; leave it out for ECDSA P-256")
		}
		v = append(v, validateExpiration(field(at, "expiration"), c.Expiration)...)
	}
	return v
}
