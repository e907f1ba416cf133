package api

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
)

// ErrJoinToken is what every error of ParseJoinToken wraps.
var ErrJoinToken = errors.New("join token cannot be used")

// joinPrefix names the form: a later one has another number.
const joinPrefix = "weft1."

var otherJoinToken = regexp.MustCompile(`^weft[0-9]+\.`)

// A JoinToken is all that a host needs for its first contact: where the control
// plane is, how to know it before anything is sent, and what to show it. It is
// a secret.
type JoinToken struct {
	Addresses []string `json:"addresses"` // host:port, tried in order
	// Authority is the SHA-256 of the SubjectPublicKeyInfo (DER) of the
	// control plane's authority, in hex.
	Authority string `json:"authority"`
	Token     string `json:"token"`          // a dataplane token
	Mesh      string `json:"mesh"`           // of the token
	Name      string `json:"name,omitempty"` // of the Dataplane, where the token allows one only
}

// String returns the token as one word.
func (t JoinToken) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings always marshal
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseJoinToken reads what String wrote, with white space around it or not.
// Its errors never quote the token, since it is a secret.
func ParseJoinToken(s string) (JoinToken, error) {
	fail := func(reason string, args ...any) (JoinToken, error) {
		return JoinToken{}, fmt.Errorf("%w: "+reason, append([]any{ErrJoinToken}, args...)...)
	}
	s = strings.TrimSpace(s)
	body, ours := strings.CutPrefix(s, joinPrefix)
	switch {
	case s == "":
		return fail("it is empty; `weftctl join-token` makes one")
	case !ours && otherJoinToken.MatchString(s):
		return fail("it is of a newer version; upgrade weft-agent on this host")
	case !ours:
		return fail("it does not begin with %q; `weftctl join-token` makes one (a dataplane token alone is not enough)", joinPrefix)
	case strings.ContainsAny(body, " \t\r\n"):
		return fail("it has white space inside; it is one word, copy it without line breaks")
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return fail("it is damaged or cut short; copy the whole word again")
	}
	var t JoinToken
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&t); err != nil || d.More() {
		return fail("it is damaged or cut short; copy the whole word again")
	}
	if err := t.check(); err != nil {
		return JoinToken{}, err
	}
	return t, nil
}

// check tells what a token lacks.
func (t JoinToken) check() error {
	if len(t.Addresses) == 0 {
		return fmt.Errorf("%w: it names no address of a control plane; make it with `weftctl join-token --address host:port`", ErrJoinToken)
	}
	for _, a := range t.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return fmt.Errorf("%w: its address %q is not host:port", ErrJoinToken, a)
		}
	}
	if sum, err := hex.DecodeString(t.Authority); err != nil || len(sum) != 32 {
		return fmt.Errorf("%w: it lacks the hash of the control plane's authority; make it anew with `weftctl join-token`", ErrJoinToken)
	}
	if t.Mesh == "" {
		return fmt.Errorf("%w: it does not say of which mesh it is; make it anew with `weftctl join-token`", ErrJoinToken)
	}
	if t.Token == "" {
		return fmt.Errorf("%w: it holds no dataplane token; make it anew with `weftctl join-token`", ErrJoinToken)
	}
	return nil
}
