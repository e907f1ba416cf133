package api

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// maxAnswer is the longest answer that a client reads, in bytes: a page of
// 1000 large resources fits.
const maxAnswer = 256 << 20

// An answer is what came back with a status below 300.
type answer struct {
	status  int
	body    []byte
	version mesh.Version // of the resource that it is about; 0 where it is about none
}

// call makes one request. Failures that the server tells are *Error.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json, text/yaml, text/plain")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	if len(data) > maxAnswer {
		return answer{}, fmt.Errorf("%s %s at %s: the answer has more than %d bytes", method, path, c.server, maxAnswer)
	}
	if res.StatusCode >= 300 {
		return answer{}, failure(res, data)
	}
	version, _ := strconv.ParseInt(strings.Trim(res.Header.Get("ETag"), `"`), 10, 64)
	return answer{status: res.StatusCode, body: data, version: mesh.Version(version)}, nil
}

// failure reads an error document. What is none becomes one, so that callers
// have one form of it.
func failure(res *http.Response, data []byte) *Error {
	var e Error
	if err := json.Unmarshal(data, &e); err == nil && e.Title != "" {
		e.Status = res.StatusCode
		return &e
	}
	detail := strings.TrimSpace(shorten(string(data)))
	if to := res.Header.Get("Location"); to != "" {
		detail = "it points to " + shorten(to) + "; is this a Weft control plane?"
	}
	return NewError(res.StatusCode, "The server answered "+res.Status, detail, nil)
}

// unreachable tells what may help.
func (c *Client) unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text repeats the method and an address made up for sockets
	}
	return fmt.Errorf("reach the control plane at %s: %w%s", c.server, err, c.remedy(err))
}

func (c *Client) remedy(err error) string {
	unix := strings.HasPrefix(c.server, "unix:")
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case unix && errors.Is(err, fs.ErrNotExist):
		return ": no control plane runs on this host; start weft-cp, or name another host's by its https address"
	case unix && errors.Is(err, fs.ErrPermission):
		return ": the socket is for root alone; become root, or use an https address with a token"
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": nothing listens there; is weft-cp running?"
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return ": no answer in time; is the address right, and does a firewall let it through?"
	case isDNS(err):
		return ": is the host name right?"
	case isUntrusted(err):
		return ": the server's certificate is signed by an authority that is not trusted here; give the control plane's own (ca.crt in its data directory)"
	case isWrongName(err):
		return ": the server's certificate is for other names; reach it by one of them, or add this one to weft-cp's --advertise"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return ": that port speaks plain HTTP; HTTPS is at 5682"
	}
	return ""
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func isDNS(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

func isUntrusted(err error) bool {
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

func isWrongName(err error) bool {
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}
