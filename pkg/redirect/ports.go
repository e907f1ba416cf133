package redirect

import (
	"fmt"
	"strconv"
	"strings"
)

func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return strconv.Itoa(int(p.First)) + "-" + strconv.Itoa(int(p.Last))
}

func (p PortRange) contains(port uint16) bool { return p.First <= port && port <= p.Last }

// ParsePorts reads a list as its owner types it, "80,8080-8090". An empty list
// is no ports. Every piece that is not a port or a range from low to high is
// told; the error wraps ErrInvalid.
func ParsePorts(s string) ([]PortRange, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var (
		ports []PortRange
		bad   faults
	)
	for piece := range strings.SplitSeq(s, ",") {
		piece = strings.TrimSpace(piece)
		first, last, ranged := strings.Cut(piece, "-")
		if !ranged {
			last = first
		}
		lo, loErr := parsePort(first)
		hi, hiErr := parsePort(last)
		if loErr != nil || hiErr != nil {
			bad.add("ports", "%.40q is neither a port from 1 to 65535 nor a range such as 8080-8090", piece)
			continue
		}
		p := PortRange{First: lo, Last: hi}
		if fault := p.fault(); fault != "" {
			bad.add("ports", "%s", fault)
			continue
		}
		ports = append(ports, p)
	}
	if err := bad.err("read ports"); err != nil {
		return nil, err
	}
	return ports, nil
}

// parsePort takes digits only: no sign, no space within.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil || n == 0 {
		return 0, strconv.ErrRange
	}
	return uint16(n), nil
}

// fault says what is wrong with one range, or nothing.
func (p PortRange) fault() string {
	switch {
	case p.First == 0:
		return fmt.Sprintf("%s: port 0 does not exist; ports go from 1 to 65535", p)
	case p.First > p.Last:
		return fmt.Sprintf("%s runs backwards: write %d-%d", p, p.Last, p.First)
	}
	return ""
}
