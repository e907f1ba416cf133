package rest

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// forwarded are headers that a proxy adds: then the sender is somewhere else.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// LocalhostIsAdmin makes every program on the control plane's machine an
// administrator, for those who come from Kuma. It is not for machines with
// other users. A web page in a browser on the machine, or a proxy on it, must
// not come through, so the request has to look like one of the machine's own.
func LocalhostIsAdmin(r *http.Request) (User, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !isLoopback(r.Host) {
		return User{}, ErrNoCredential
	}
	for _, h := range forwarded {
		if _, there := r.Header[h]; there {
			return User{}, ErrNoCredential
		}
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "" && site != "same-origin" && site != "none" {
			return User{}, ErrNoCredential
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !sameOrigin(origin, r) {
			return User{}, ErrNoCredential
		}
	}
	return admin(), nil
}

// isLoopback tells whether a Host header names this machine. Names other than
// localhost could be made to resolve to it by anybody.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func sameOrigin(origin string, r *http.Request) bool {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}
