package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// metrics is what the host's own settings say of metrics in its Dataplane, nil
// where they say nothing.
func (c *Config) metrics() (map[string]any, error) {
	conf := map[string]any{}
	if c.MetricsPort != 0 {
		conf["port"] = c.MetricsPort
	}
	var (
		applications []map[string]any
		errs         []error
	)
	for _, s := range c.Scrape {
		a, err := application(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		applications = append(applications, a)
	}
	if len(applications) > 0 {
		conf["aggregate"] = applications
	}
	if len(conf) == 0 {
		return nil, errors.Join(errs...)
	}
	return map[string]any{"type": "prometheus", "conf": conf}, errors.Join(errs...)
}

// application reads NAME=[ADDRESS:]PORT[/PATH].
func application(s string) (map[string]any, error) {
	name, at, ok := strings.Cut(s, "=")
	at, path, hasPath := strings.Cut(at, "/")
	a := map[string]any{"name": name}
	port := at
	if host, p, err := net.SplitHostPort(at); err == nil {
		a["address"], port = host, p
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || name == "" || err != nil || n == 0 {
		return nil, fmt.Errorf("%q is not NAME=[ADDRESS:]PORT[/PATH], such as shop=9100/metrics", s)
	}
	a["port"] = n
	if hasPath {
		a["path"] = "/" + path
	}
	return a, nil
}

// probes is what the host's own settings say of probes in its Dataplane, nil
// where they say nothing.
func (c *Config) probes() (map[string]any, error) {
	var (
		endpoints []map[string]any
		errs      []error
	)
	for _, s := range c.Probes {
		path, to, ok := strings.Cut(s, "=")
		if !ok || !strings.HasPrefix(path, "/") || !strings.HasPrefix(to, "/") {
			errs = append(errs, fmt.Errorf("%q is not PATH=PATH-OF-THE-SERVICE, such as /web/healthz=/healthz", s))
			continue
		}
		endpoints = append(endpoints, map[string]any{"path": path, "inboundPort": c.Port, "inboundPath": to})
	}
	switch {
	case len(c.Probes) > 0 && c.ProbePort == 0:
		errs = append(errs, errors.New("needs probePort beside it"))
	case len(c.Probes) > 0 && c.Gateway:
		errs = append(errs, errors.New("a gateway has none: it is called past Envoy"))
	}
	if len(endpoints) == 0 || len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return map[string]any{"port": c.ProbePort, "endpoints": endpoints}, nil
}

// outbounds are the services that have a port of this host.
func (c *Config) outbounds() (all []map[string]any, err error) {
	var errs []error
	for _, s := range c.Outbounds {
		at, service, ok := strings.Cut(s, "=")
		o := map[string]any{"tags": map[string]string{"kuma.io/service": service}}
		port := at
		if host, p, err := net.SplitHostPort(at); err == nil {
			o["address"], port = host, p
			_, err := netip.ParseAddr(host)
			ok = ok && err == nil
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || service == "" || err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("%q is not [ADDRESS:]PORT=SERVICE, such as 10001=backend", s))
			continue
		}
		o["port"] = n
		all = append(all, o)
	}
	return all, errors.Join(errs...)
}
