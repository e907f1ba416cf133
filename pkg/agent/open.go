package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// A Door is a port of this host by which its owner comes in, or the mesh to
// its control plane. Redirection leaves doors open, unless it is told not to.
type Door struct {
	Port uint16
	Why  string // "sshd listens there"
}

func (d Door) String() string { return fmt.Sprintf("port %d (%s)", d.Port, d.Why) }

// doors is where they are looked for.
type doors struct {
	root      string // "/", beneath which configuration is
	listening func() (map[uint16][]string, error)
	local     func(host string) bool
}

func hostDoors() doors { return doors{root: "/", listening: listeners, local: isLocal} }

// byProcess are the programs whose listeners are doors.
var byProcess = []string{"sshd", "dropbear", "weft-cp"}

// listeners are the names of those who listen at each TCP port.
func listeners() (map[uint16][]string, error) {
	all, err := sockets.Find(sockets.Query{States: []sockets.State{sockets.Listening}})
	if err != nil {
		return nil, err
	}
	holders, err := sockets.HoldersOf(all)
	if err != nil {
		return nil, err
	}
	out := make(map[uint16][]string)
	for _, s := range all {
		for _, h := range holders[s.Inode] {
			if p, err := sockets.Look(h.PID); err == nil {
				out[s.Local.Port()] = append(out[s.Local.Port()], p.Name)
			}
		}
	}
	return out, nil
}

// isLocal takes addresses; names are not looked up, as that may take a while.
func isLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	all, listErr := explain.Addresses()
	return err == nil && listErr == nil && (explain.Host{Addresses: all}).Local(a)
}

// find lists the doors by port, each once. Port 22 is one always, and what
// sshd is configured to listen at, whether it runs now or not: it may start later.
func (d doors) find(controlPlanes []string) ([]Door, error) {
	found := []Door{{22, "SSH's own"}}
	add := func(port uint16, format string, args ...any) {
		if port != 0 && !slices.ContainsFunc(found, func(f Door) bool { return f.Port == port }) {
			found = append(found, Door{port, fmt.Sprintf(format, args...)})
		}
	}
	for port, file := range d.configured() {
		add(port, "sshd is to listen there, by %s", file)
	}
	listening, err := d.listening()
	if err != nil {
		return nil, err
	}
	for port, names := range listening {
		for _, name := range byProcess {
			if slices.Contains(names, name) {
				add(port, "%s listens there", name)
			}
		}
	}
	for _, cp := range controlPlanes {
		host, text, err := net.SplitHostPort(cp)
		port, portErr := strconv.ParseUint(text, 10, 16)
		if err == nil && portErr == nil && d.local(host) {
			add(uint16(port), "the control plane is on this host")
		}
	}
	slices.SortFunc(found, func(a, b Door) int { return int(a.Port) - int(b.Port) })
	return found, nil
}

// configured are the ports of sshd_config(5) and of the sockets on which
// systemd waits for sshd, each with its file.
func (d doors) configured() map[uint16]string {
	out := make(map[uint16]string)
	for _, pattern := range []string{
		"etc/ssh/sshd_config", "etc/ssh/sshd_config.d/*.conf",
		"etc/systemd/system/ssh*.socket", "etc/systemd/system/ssh*.socket.d/*.conf", "run/systemd/generator/ssh*.socket.d/*.conf",
		"usr/lib/systemd/system/ssh*.socket", "lib/systemd/system/ssh*.socket",
	} {
		files, err := filepath.Glob(filepath.Join(d.root, pattern))
		if err != nil {
			continue
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(text)) {
				if port := sshPort(line); port != 0 {
					out[port] = file
				}
			}
		}
	}
	return out
}

// sshPort is the port that a line of such a file sets; 0: none.
func sshPort(line string) uint16 {
	key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
	if !ok {
		words := strings.Fields(line)
		if len(words) < 2 {
			return 0
		}
		key, value = words[0], words[1]
	}
	value = strings.Trim(strings.TrimSpace(value), `"`)
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "port":
	case "listenaddress", "listenstream":
		if strings.Count(value, ":") > 1 && !strings.HasPrefix(value, "[") {
			return 0 // an IPv6 address alone
		}
		if i := strings.LastIndex(value, ":"); i >= 0 {
			value = value[i+1:]
		}
	default:
		return 0
	}
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// keepOpen leaves the doors out of what is redirected inbound. Where the
// service itself is at one, it is refused.
func (c *Config) keepOpen(r *redirect.Rules, d doors) ([]Door, error) {
	if c.CaptureSSH || r.Inbound.To == 0 {
		return nil, nil
	}
	found, err := d.find(c.ControlPlanes)
	if err != nil {
		return nil, err
	}
	if !r.Inbound.All {
		for _, door := range found {
			if slices.ContainsFunc(r.Inbound.Ports, func(p redirect.PortRange) bool { return p.First <= door.Port && door.Port <= p.Last }) {
				return nil, fmt.Errorf("port: %s would be taken by Envoy, and you may be locked out: choose another port for the service, or set captureSsh: true", door)
			}
		}
		return nil, nil
	}
	var kept []Door
	for _, door := range found {
		if !slices.ContainsFunc(r.Inbound.ExcludePorts, func(p redirect.PortRange) bool { return p.First <= door.Port && door.Port <= p.Last }) {
			r.Inbound.ExcludePorts = append(r.Inbound.ExcludePorts, redirect.PortRange{First: door.Port, Last: door.Port})
			kept = append(kept, door)
		}
	}
	return kept, nil
}
