package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// A ClientConfig says which control plane a client speaks to, and as whom.
type ClientConfig struct {
	Server string         // http://host:port, https://host:port or unix:///path/to.sock
	Token  string         // bearer; "" sends none
	Roots  *x509.CertPool // nil: the system's authorities
}

// A Client speaks to one control plane. Certificates are always verified, no
// redirect is followed, and the token goes to no other address than Server.
type Client struct {
	server string // as people gave it, for messages
	base   string // without "/" at the end
	token  string
	http   *http.Client
}

// ErrConfig is what the errors of NewClient wrap.
var ErrConfig = errors.New("cannot reach the control plane so")

// NewClient makes a client. It connects to nothing yet. It refuses to send a
// token in plain text to another host.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.Server)
	if err == nil && u.User != nil {
		return nil, fmt.Errorf("%w: an address holds no user and no password; put a token into a file", ErrConfig)
	}
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: %q is not an address; give http://host:port, https://host:port or unix:///path/to.sock", ErrConfig, cfg.Server)
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		ForceAttemptHTTP2:     true,
	}
	c := &Client{
		server: cfg.Server,
		base:   strings.TrimRight(cfg.Server, "/"),
		token:  cfg.Token,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		c.base = "http://localhost"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", u.Path)
		}
	case u.Scheme == "https" && u.Hostname() != "":
	case u.Scheme == "http" && u.Hostname() != "":
		if cfg.Token != "" && !loopback(u.Hostname()) {
			return nil, fmt.Errorf("%w: the token would cross the network in plain text; use https://%s:5682", ErrConfig, bracketed(u.Hostname()))
		}
	default:
		return nil, fmt.Errorf("%w: %q is not an address; give http://host:port, https://host:port or unix:///path/to.sock", ErrConfig, cfg.Server)
	}
	return c, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }
