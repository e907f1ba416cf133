package mesh

import (
	"net/netip"
	"regexp"
	"strconv"
)

// A last label of digits alone would be an IP address gone wrong.
var dnsName = regexp.MustCompile(`^([a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]*[-a-zA-Z_][-a-zA-Z0-9_]*\.?$`)

// validateHost accepts an IP address or a DNS name.
func validateHost(path, s string) (v Violations) {
	ip, err := netip.ParseAddr(s)
	switch {
	case s == "":
		v.Add(path, "address must not be empty; give the IP address or DNS name at which other hosts reach this one")
	case err == nil:
		return validateAddr(path, ip)
	case len(s) > MaxName || !dnsName.MatchString(s):
		v.Add(path, "%q is neither an IP address nor a DNS name", s)
	}
	return v
}

// validateIP accepts an IP address, or "" as the default.
func validateIP(path, s string) (v Violations) {
	if s == "" {
		return nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		v.Add(path, "%q is not an IP address", s)
		return v
	}
	return validateAddr(path, ip)
}

func validateAddr(path string, ip netip.Addr) (v Violations) {
	switch {
	case ip.IsUnspecified():
		v.Add(path, "must not be %s; give one address of the host", ip)
	case ip.Zone() != "":
		v.Add(path, "must not have a zone (%%%s)", ip.Zone())
	case ip.IsMulticast():
		v.Add(path, "must not be a multicast address")
	}
	return v
}

func validatePort(path string, port uint32) (v Violations) {
	if port < 1 || port > 65535 {
		v.Add(path, "port must be in the range [1, 65535]")
	}
	return v
}

func validateOptionalPort(path string, port uint32) (v Violations) {
	if port > 65535 {
		v.Add(path, "port must be in the range [0, 65535]")
	}
	return v
}

// portNumber reads a port as it is written; 0 is not one.
func portNumber(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint32(n)
}
