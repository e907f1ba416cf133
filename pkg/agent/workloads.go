package agent

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/settings"
)

// hostSettings are the host's: they stand at the top of the file and hold for
// every workload.
var hostSettings = []string{
	"state-dir", "run-dir", "ready-port", "key-store", "envoy", "redirect-engine", "redirect-cgroup", "system-roots", "resolv-conf", "resolvers",
	"capture-ssh", "share-marks", "log-level", "log-format",
}

// sharedSettings are a workload's own where it has them, else those at the top.
var sharedSettings = []string{
	"control-plane", "address", "envoy-concurrency", "envoy-log-level", "envoy-memory", "envoy-files", "envoy-user", "keep-envoy", "drain-time", "change-time", "redirect", "inbound-method",
	"fail-open", "metrics-cert", "metrics-key",
}

// apartSettings have no default where a host has several workloads, as each
// needs one of its own.
var apartSettings = []string{"redirect-table", "inbound-port", "outbound-port", "dns-port", "envoy-dns-port", "metrics-port"}

// ownSettings are a workload's own: nobody else's count.
func (c *Config) ownSettings() (names []string) {
	sorted := c.flags.SortFlags
	c.flags.SortFlags = false // in the order of Bind
	defer func() { c.flags.SortFlags = sorted }()
	c.flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(hostSettings, f.Name) && !slices.Contains(sharedSettings, f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// workloadsKey is the file's list of further workloads.
const workloadsKey = "workloads"

// Lists are what the file has besides flags: further workloads of this host,
// which join adds. top are the flags that c is bound to.
func (c *Config) Lists(top *pflag.FlagSet) []settings.List {
	return []settings.List{{
		Key:  workloadsKey,
		Next: func() *pflag.FlagSet { return c.another(top) },
		Entries: func() (all []*pflag.FlagSet) {
			for _, w := range c.more {
				all = append(all, w.flags)
			}
			return all
		},
	}}
}

// another adds a workload, and returns the flags of the settings that are its
// own to have.
func (c *Config) another(top *pflag.FlagSet) *pflag.FlagSet {
	w := &Config{listed: true}
	all, host, shared := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	w.Bind(all)
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringVar(&w.Workload, "workload", "", "name of this workload on this host, which its files and its redirection bear")
	all.VisitAll(func(f *pflag.Flag) {
		switch {
		case slices.Contains(hostSettings, f.Name):
			host.AddFlag(f)
			return
		case slices.Contains(sharedSettings, f.Name):
			shared.AddFlag(f)
		case slices.Contains(apartSettings, f.Name):
			zero := "0"
			if f.Value.Type() == "string" {
				zero = ""
			}
			_ = f.Value.Set(zero) // takes it
			f.DefValue = zero
		}
		own.AddFlag(f)
	})
	for _, of := range []*pflag.FlagSet{host, shared} {
		if err := settings.Inherit(of, top); err != nil {
			panic(err) // they are the same flags
		}
	}
	w.flags, w.host = own, host
	c.more = append(c.more, w)
	return own
}

// Further sets what given flags say on the workload of that name, which it adds,
// with ports that are free, where the host has none. c must be what its file
// says. What is the host's is set at the top.
func (c *Config) Further(workload string, given *pflag.FlagSet) error {
	i := slices.IndexFunc(c.more, func(w *Config) bool { return w.Workload == workload })
	if i < 0 {
		free := c.free()
		i = len(c.more)
		c.another(c.flags)
		w := c.more[i]
		w.Workload = workload
		w.OutboundPort, w.InboundPort, w.DNSPort, w.EnvoyDNSPort, w.MetricsPort = free.of("outboundPort"), free.of("inboundPort"), free.of("dnsPort"), free.of("envoyDnsPort"), free.of("metricsPort")
	}
	var errs []error
	given.VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		to := c.more[i].flags.Lookup(f.Name)
		if to == nil {
			to = c.flags.Lookup(f.Name)
		}
		if err := settings.Copy(to, f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", settings.Key(f.Name), err))
		}
	})
	for _, w := range c.more {
		errs = append(errs, settings.Inherit(w.host, c.flags))
	}
	return errors.Join(errs...)
}

// Joined takes what joining has found out about a workload.
func (c *Config) Joined(joined Config) {
	to := c
	for _, w := range c.more {
		if joined.listed && w.Workload == joined.Workload {
			to = w
		}
	}
	to.Mesh, to.Name, to.ControlPlanes = joined.Mesh, joined.Name, joined.ControlPlanes
}

// Drop takes a workload of the list out of the configuration.
func (c *Config) Drop(workload string) {
	c.more = slices.DeleteFunc(c.more, func(w *Config) bool { return w.Workload == workload })
}

// workloadName is short enough for a table of the kernel and for sockets.
var workloadName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)

// Workloads are what this configuration has an agent serve, each with the
// host's settings beside its own: the one at the top of the file, where there is
// one, and those of the list.
func (c *Config) Workloads() (all []Config) {
	if c.Name != "" || c.Service != "" || c.Mesh != "" || len(c.more) == 0 {
		all = append(all, *c)
	}
	for _, w := range c.more {
		of := *w
		of.StateDir = filepath.Join(c.StateDir, "workloads", of.Workload)
		of.RunDir = filepath.Join(c.RunDir, of.Workload)
		of.RedirectTable = cmp.Or(of.RedirectTable, "weft-"+of.Workload)
		all = append(all, of)
	}
	return all
}

// Meshes are those that this host is in: `mesh "default"`.
func (c *Config) Meshes() string {
	var all []string
	for _, w := range c.Workloads() {
		if name := fmt.Sprintf("mesh %q", w.Mesh); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}

// ErrInvalid: the redirection that is asked for makes no sense.
var ErrInvalid = redirect.ErrInvalid

// ErrNoWorkload: the configuration names no such workload.
var ErrNoWorkload = errors.New("no such workload")

// Of is the configuration of one workload, by its name on this host.
func (c *Config) Of(workload string) (Config, error) {
	var names []string
	for _, w := range c.Workloads() {
		if w.Workload == workload {
			return w, nil
		}
		names = append(names, fmt.Sprintf("%q", w.Workload))
	}
	return Config{}, fmt.Errorf("%w: %q; this host has %s", ErrNoWorkload, workload, strings.Join(names, ", "))
}

// Validate tells everything that is wrong with a joined host's configuration.
func (c *Config) Validate() error { return c.every((*Config).valid) }

// Faults is everything that is wrong with a joined host's configuration, the
// redirection that it asks for included.
func (c *Config) Faults() error {
	errs := lines(c.every((*Config).faults))
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return c.apart()
}

// every tells the faults of every workload, and what they may not have in common.
func (c *Config) every(faults func(*Config) error) error {
	var (
		errs  []error
		all   = c.Workloads()
		taken = map[string]*Config{} // what: by whom
	)
	for i := range all {
		w := &all[i]
		for _, err := range lines(faults(w)) {
			errs = append(errs, w.at(err))
		}
		if w.listed && !workloadName.MatchString(w.Workload) {
			errs = append(errs, w.at(fmt.Errorf("workload: %q must be a letter and at most 14 of a-z, 0-9 and -, such as db", w.Workload)))
		}
		own := []struct{ key, what string }{
			{"workload", "workload " + w.Workload}, {"name", fmt.Sprintf("Dataplane %s of mesh %s", w.Name, w.Mesh)}, {"redirectTable", "table " + w.RedirectTable},
		}
		for _, p := range w.ports() {
			switch {
			case p.port != 0:
				own = append(own, struct{ key, what string }{p.key, fmt.Sprintf("port %d", p.port)})
			case w.listed && p.key != "port" && p.key != "probePort":
				errs = append(errs, w.at(fmt.Errorf("%s: is not set; %d is free, as are %s", p.key, c.free().of(p.key), c.free())))
			}
		}
		for _, o := range own {
			switch by := taken[o.what]; by {
			case nil:
				taken[o.what] = w
			case w: // told by itself
			default:
				errs = append(errs, w.at(fmt.Errorf("%s: %s is %s's already; each workload needs its own. Free are %s", o.key, o.what, by.place(), c.free())))
			}
		}
	}
	return errors.Join(errs...)
}

// apart tells which workloads would redirect the same.
func (c *Config) apart() error {
	var errs []error
	all := c.Workloads()
	rules := make([]redirect.Rules, len(all))
	for i, w := range all {
		if len(all) == 1 || !w.Redirect {
			continue
		}
		var err error
		if rules[i], err = w.Rules(); err != nil {
			return w.at(err)
		}
		for j, of := range all[:i] {
			if both := rules[i].Overlap(rules[j]); of.Redirect && len(both) > 0 {
				errs = append(errs, w.at(fmt.Errorf("only: %s redirects already what this one would: %s; give each users, groups or units, and ports, of its own", of.place(), strings.Join(both, ", "))))
			}
		}
	}
	return errors.Join(errs...)
}

// place is how errors call a workload.
func (c *Config) place() string {
	if !c.listed {
		return "the workload at the top"
	}
	return "workload " + c.Workload
}

// Title is how people are told which workload of several something is about.
func (c *Config) Title() string { return fmt.Sprintf("%s, dataplane %s", c.place(), c.Name) }

func (c *Config) at(err error) error {
	if !c.listed {
		return err
	}
	return fmt.Errorf("%s[%s].%w", workloadsKey, c.Workload, err)
}

// A block is ports for one workload more: the usual ones and a hundred times
// its number.
type block uint16

// blockPorts are the ports that each workload needs, of block 0.
var blockPorts = []portOf{
	{"outboundPort", 15001}, {"inboundPort", 15006}, {"dnsPort", 15053}, {"envoyDnsPort", 15054}, {"metricsPort", 15090},
}

func (b block) of(key string) uint16 {
	for _, p := range blockPorts {
		if p.key == key {
			return p.port + 100*uint16(b)
		}
	}
	return 0
}

func (b block) String() string {
	var all []string
	for _, p := range blockPorts {
		all = append(all, fmt.Sprintf("%s: %d", p.key, b.of(p.key)))
	}
	return strings.Join(all, ", ")
}

// free is the first block of which no workload has a port.
func (c *Config) free() block {
	taken := map[uint16]bool{}
	for _, w := range c.Workloads() {
		for _, p := range w.ports() {
			taken[p.port] = true
		}
	}
	for b := block(1); ; b++ {
		if !slices.ContainsFunc(blockPorts, func(p portOf) bool { return taken[b.of(p.key)] }) || b == 400 {
			return b
		}
	}
}
