package mesh

import (
	"cmp"
	"maps"
	"slices"
)

// Prometheus returns how a dataplane of the mesh is scraped, its own words
// merged over the mesh's, with every default filled in. It is nil where the
// mesh has metrics off.
func (s *MeshSpec) Prometheus(dp *Dataplane) *PrometheusConf {
	b := s.Metrics.Backend()
	if b == nil {
		return nil
	}
	c := PrometheusConf{}
	c.merge(b.Conf)
	if dp.Metrics != nil {
		c.merge(dp.Metrics.Conf)
	}
	c.Port = cmp.Or(c.Port, MetricsPort)
	c.Path = cmp.Or(c.Path, MetricsPath)
	if c.Tags.Service() == "" {
		c.Tags = with(c.Tags, Tags{ServiceTag: MetricsService})
	}
	mode := cmp.Or(c.TLS.mode(), MetricsMTLS)
	if c.TLS.mode() == "" && c.SkipMTLS != nil && *c.SkipMTLS {
		mode = MetricsPlain
	}
	c.TLS = &MetricsTLS{Mode: mode}
	for i := range c.Aggregate {
		c.Aggregate[i].Path = cmp.Or(c.Aggregate[i].Path, MetricsPath)
	}
	c.Aggregate = slices.DeleteFunc(c.Aggregate, func(a Aggregate) bool { return a.Enabled != nil && !*a.Enabled })
	return &c
}

func (t *MetricsTLS) mode() string {
	if t == nil {
		return ""
	}
	return t.Mode
}

// merge puts what over says in the place of what c says, down to the fields of
// each entry of Aggregate, which are known by their names. It keeps nothing of
// over's that could be changed.
func (c *PrometheusConf) merge(over *PrometheusConf) {
	if over == nil {
		return
	}
	c.Port = cmp.Or(over.Port, c.Port)
	c.Path = cmp.Or(over.Path, c.Path)
	c.Tags = with(c.Tags, over.Tags)
	c.SkipMTLS = cmp.Or(over.SkipMTLS, c.SkipMTLS)
	if over.TLS.mode() != "" {
		c.TLS = &MetricsTLS{Mode: over.TLS.Mode}
	}
	if e := over.Envoy; e != nil {
		was := EnvoyMetrics{}
		if c.Envoy != nil {
			was = *c.Envoy
		}
		c.Envoy = &EnvoyMetrics{FilterRegex: cmp.Or(e.FilterRegex, was.FilterRegex), UsedOnly: cmp.Or(e.UsedOnly, was.UsedOnly)}
	}
	for _, a := range over.Aggregate {
		i := slices.IndexFunc(c.Aggregate, func(b Aggregate) bool { return b.Name == a.Name })
		if i < 0 {
			c.Aggregate = append(c.Aggregate, a)
			continue
		}
		was := &c.Aggregate[i]
		was.Port = cmp.Or(a.Port, was.Port)
		was.Path = cmp.Or(a.Path, was.Path)
		was.Enabled = cmp.Or(a.Enabled, was.Enabled)
		was.Address = cmp.Or(a.Address, was.Address)
	}
}

// with returns a's tags and b's, b's where both have one.
func with(a, b Tags) Tags {
	if len(a)+len(b) == 0 {
		return nil
	}
	all := Tags{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}
