package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// What an Authenticator's errors wrap.
var (
	// ErrNoCredential: the request shows none of the kind that was looked
	// for; another Authenticator may find one.
	ErrNoCredential = errors.New("the request shows no credential")
	// ErrBadCredential: the request shows one that is not accepted.
	ErrBadCredential = errors.New("the credential is not accepted")
	// ErrTokenRefused: it is a user's token, and the error says why it is not
	// good.
	ErrTokenRefused = errors.New("the token is not accepted")
)

// What errors of Server.Ask wrap.
var (
	// ErrNoView: nobody can say now what the proxy has; the error says why.
	ErrNoView = errors.New("the proxy cannot be asked")
	// ErrBusy: as many are asked at once as may be.
	ErrBusy = errors.New("busy")
)

var (
	errDenied    = errors.New("access denied")
	errNoRoute   = errors.New("there is nothing at this path")
	errMethod    = errors.New("this path has no such method")
	errMediaType = errors.New("the body must be JSON or YAML, with Content-Type application/json or application/yaml")
	errPageSize  = errors.New("page size out of range")
	errQuery     = errors.New("query parameter not understood")
	errReadOnly  = errors.New("this cannot be written here")
	errNoGUI     = errors.New("this control plane has no GUI: weftctl shows what is in it, and GET /openapi.json describes the interface that a GUI would use")
	errStale     = errors.New("it is not what the request says it has to be")
	errPanic     = errors.New("handler panicked")
)

// A denial is an errDenied that tells only who may not do what.
type denial struct {
	user   User
	action string
}

func (d denial) Error() string { return fmt.Sprintf("user %q cannot %s", d.user, d.action) }

// Is makes every denial an errDenied.
func (d denial) Is(target error) bool { return target == errDenied }

// statusClientGone is what is noted where nobody waits for the answer any more.
const statusClientGone = 499

const howToLogIn = `send the header "Authorization: Bearer <token>"; the first token is in the file admin-token of the control plane's data directory; root on that machine needs none over its unix socket`

// statuses is the one place where an error becomes a status. The first that
// fits counts. An empty title is that of the route, an empty detail the
// error's own text.
var statuses = []struct {
	is            error
	status        int
	title, detail string
}{
	{errPanic, http.StatusInternalServerError, "", "Internal Server Error"},
	{ErrNoCredential, http.StatusUnauthorized, "", "the request shows no credential: " + howToLogIn},
	{ErrTokenRefused, http.StatusUnauthorized, "", ""},
	{ErrBadCredential, http.StatusUnauthorized, "", "the credential is not accepted: " + howToLogIn},
	{errDenied, http.StatusForbidden, "Access Denied", ""},
	{errNoRoute, http.StatusNotFound, "Page Not Found", "there is nothing at this path; GET /_resources lists the types of resources and their paths"},
	{errNoGUI, http.StatusNotFound, "", ""},
	{errMethod, http.StatusMethodNotAllowed, "Method not Allowed", ""},
	{errReadOnly, http.StatusMethodNotAllowed, "Method not Allowed", ""},
	{errStale, http.StatusPreconditionFailed, "Precondition Failed", ""},
	{ErrNoView, http.StatusBadRequest, "", ""},
	{ErrBusy, http.StatusServiceUnavailable, "Service unavailable", ""},
	{errMediaType, http.StatusUnsupportedMediaType, "Unsupported Media Type", ""},
	{errPageSize, http.StatusBadRequest, "", "Invalid page size"},
	{errQuery, http.StatusBadRequest, "", "Invalid query parameter"},
	{api.ErrTooLarge, http.StatusRequestEntityTooLarge, "Document is too large", ""},
	{admission.ErrNoMesh, http.StatusNotFound, "Failed to retrieve Mesh", "Not found"},
	{store.ErrNotFound, http.StatusNotFound, "", "Not found"},
	{store.ErrConflict, http.StatusConflict, "Conflict", "somebody else changed it in between: read it again and retry"},
	{mesh.ErrInvalid, http.StatusBadRequest, "", "Resource is not valid"},
	{store.ErrFull, http.StatusInsufficientStorage, "Store is full", "the store has no room for it: make room on its disk, then try again; nothing was written"},
	{store.ErrUnavailable, http.StatusServiceUnavailable, "Store is unavailable", "the control plane cannot reach its store now: proxies keep what they have; try again. A write may have been made all the same: read to know"},
	{context.Canceled, statusClientGone, "", "the client went away"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "Service unavailable", "it took too long: try again"},
}

// document says what failed, to the one who asked for it.
func document(title string, err error) *api.Error {
	if syntax, ok := errors.AsType[*api.SyntaxError](err); ok {
		return api.NewError(http.StatusBadRequest, "Bad Request", syntax.Error(), nil)
	}
	for _, s := range statuses {
		if !errors.Is(err, s.is) {
			continue
		}
		if s.title != "" {
			title = s.title
		}
		violations, _ := errors.AsType[mesh.Violations](err)
		detail := s.detail
		if detail == "" {
			detail = err.Error()
		}
		return api.NewError(s.status, title, detail, violations)
	}
	return api.NewError(http.StatusInternalServerError, title, "Internal Server Error", nil)
}
