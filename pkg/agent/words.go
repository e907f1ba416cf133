package agent

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// named is what a list of the configuration names, such as
// "user:postgres,port:25,cidr:10.0.0.0/8".
type named struct {
	redirect.Owners
	interfaces []string
	ports      []redirect.PortRange
	prefixes   []netip.Prefix
}

// A kind is one kind of thing that lists name, as KIND:NAME.
type kind struct {
	name, example string
	take          func(n *named, d directory, text string) error
}

// kinds are all that there are. Owners come first: callers from elsewhere have
// none here.
var kinds = []kind{
	{"user", "postgres", func(n *named, d directory, text string) (err error) {
		n.UIDs, err = appendID(n.UIDs, "user", text, d.user)
		return err
	}},
	{"group", "backup", func(n *named, d directory, text string) (err error) {
		n.GIDs, err = appendID(n.GIDs, "group", text, d.group)
		return err
	}},
	{"unit", "api.service", func(n *named, d directory, text string) error {
		path, err := d.unit(text)
		if err == nil {
			n.Cgroups = append(n.Cgroups, path)
		}
		return err
	}},
	{"cgroup", "system.slice/api.service", func(n *named, _ directory, text string) error {
		n.Cgroups = append(n.Cgroups, strings.TrimPrefix(text, "/")) // as /proc/PID/cgroup has it
		return nil
	}},
	{"interface", "docker0", func(n *named, _ directory, text string) error {
		n.interfaces = append(n.interfaces, text)
		return nil
	}},
	{"port", "9000-9100", func(n *named, _ directory, text string) error {
		ports, err := redirect.ParsePorts(text)
		if err != nil || len(ports) != 1 {
			return errors.New("is neither a port from 1 to 65535 nor a range such as port:8080-8090")
		}
		n.ports = append(n.ports, ports...)
		return nil
	}},
	{"cidr", "10.0.0.0/8", func(n *named, _ directory, text string) error {
		p, err := netip.ParsePrefix(text)
		if a, alone := netip.ParseAddr(text); alone == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return errors.New("is not an address range: write it like cidr:10.0.0.0/8, or cidr:fd00::1 for one host")
		}
		n.prefixes = append(n.prefixes, p)
		return nil
	}},
}

var (
	owners = kinds[:4]
	places = kinds[4:] // what a packet shows from either side
)

// A directory knows what this host calls its users, groups and units.
type directory struct {
	user, group func(name string) (id string, err error)
	unit        func(name string) (cgroup string, err error)
}

func hostDirectory() directory {
	return directory{
		user: func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		},
		group: func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		},
		unit: hostUnits().path,
	}
}

// errUnknown: this host has nobody of that name.
var errUnknown = errors.New("unknown")

// appendID looks a name up. Ids need no entry.
func appendID(ids []uint32, what, name string, look func(string) (string, error)) ([]uint32, error) {
	id, err := look(name)
	if err != nil {
		id = name
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		files := map[string]string{"user": "/etc/passwd", "group": "/etc/group"}
		return ids, fmt.Errorf("%w: this host has no such %s in %s; write its number if it is kept elsewhere", errUnknown, what, files[what])
	}
	if n == math.MaxUint32 {
		return ids, fmt.Errorf("is the kernel's word for no %s", what)
	}
	return append(ids, uint32(n)), nil
}

// read reads a list whose entries are of those kinds. Every fault is told.
func (d directory) read(list []string, of []kind) (named, error) {
	var (
		n    named
		errs []error
	)
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		name, text, ok := strings.Cut(entry, ":")
		i := slices.IndexFunc(of, func(k kind) bool { return k.name == name })
		switch {
		case !ok || i < 0 || text == "":
			errs = append(errs, fmt.Errorf("%.80q is not of the form %s", entry, forms(of)))
		default:
			if err := of[i].take(&n, d, text); err != nil {
				errs = append(errs, fmt.Errorf("%.80s: %w", entry, err))
			}
		}
	}
	return n, errors.Join(errs...)
}

// forms are how entries are written: "port:9000-9100 or cidr:10.0.0.0/8".
func forms(of []kind) string {
	var all []string
	for _, k := range of {
		all = append(all, k.name+":"+k.example)
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}
