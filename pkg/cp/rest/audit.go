package rest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/audit"
)

// begin makes an event of a request that may change something.
func begin(r *http.Request) *http.Request {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return r
	}
	from := r.RemoteAddr
	if from == "" || from == "@" {
		from = "unix socket"
	}
	e := &audit.Event{From: from, Via: "rest", Call: r.Method + " " + r.URL.Path}
	return r.WithContext(audit.Begin(r.Context(), e))
}

// finish writes the event of a request down, unless nothing came of it. Of
// strangers not every try is.
func (h *router) finish(r *http.Request, status int) {
	e := audit.Of(r.Context())
	if e == nil {
		return
	}
	e.Status = status
	switch {
	case status < http.StatusBadRequest && len(e.Changes) == 0:
		return // a dry run, or what was there already
	case status < http.StatusBadRequest:
		e.Outcome = audit.Done
	case status < http.StatusInternalServerError:
		e.Outcome = audit.Refused
	default:
		e.Outcome = audit.Failed
	}
	if status == http.StatusUnauthorized {
		tell, omitted := h.strangers.Tell(r.RemoteAddr)
		if !tell {
			return
		}
		e.Omitted = omitted
	}
	h.Audit.Write(e)
}

// known notes who sends a request.
func known(r *http.Request, u User) {
	if e := audit.Of(r.Context()); e != nil {
		e.User, e.Groups = u.Name, u.Groups
	}
}

// issuedToken notes a token that was made, by its id.
func issuedToken(c call, kind, meshName, name, raw string, more ...string) {
	audit.Note(c.Context(), audit.Change{
		Action: "issue", Kind: kind + " token", Mesh: meshName, Name: name, Diff: append([]string{"id: " + tokenID(raw)}, more...),
	})
}

// tokenID is the claim jti of a token of ours.
func tokenID(raw string) string {
	_, rest, _ := strings.Cut(raw, ".")
	body, _, _ := strings.Cut(rest, ".")
	var claims struct {
		ID string `json:"jti"`
	}
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err == nil {
		err = json.Unmarshal(data, &claims)
	}
	if err != nil {
		return "unknown"
	}
	return claims.ID
}
