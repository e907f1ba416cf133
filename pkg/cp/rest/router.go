package rest

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/audit"
)

// A router finds the route of a request, once it is known who sends it.
type router struct {
	*Server
	mux       *http.ServeMux // only finds: see finder
	strangers audit.Refusals // of those who show no good credential, in the audit log
	refusals  audit.Refusals // in the log
}

// mount makes one handler of routes. A route that lacks a permission, or has
// one that nobody grants, is not mounted: none of them is.
func (s *Server) mount(routes []route) (http.Handler, error) {
	h := &router{Server: s, mux: http.NewServeMux()}
	seen := map[string]bool{}
	for _, r := range routes {
		switch {
		case !slices.Contains(permissions, r.needs):
			return nil, fmt.Errorf("route %q needs permission %q, which is none", r.pattern, r.needs)
		case r.action == "" || r.failed == "" || r.serve == nil:
			return nil, fmt.Errorf("route %q is not whole", r.pattern)
		case seen[r.pattern]:
			return nil, fmt.Errorf("route %q is there twice", r.pattern)
		}
		seen[r.pattern] = true
		h.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, _ *http.Request) {
			if f, ok := w.(*finder); ok {
				f.found = &r
			}
		})
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	if h.shared(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, api.MaxDocument)
	r = begin(r)
	answer := negotiated(r, h.answer(w, r))
	h.finish(r, answer.status)
	header.Set("Content-Type", answer.contentType)
	if h.Stale != nil {
		if since := h.Stale(); !since.IsZero() {
			header.Set("Warning", fmt.Sprintf(`110 weft-cp "the store is away since %s: this is what was known then"`, since.UTC().Format(time.RFC3339)))
		}
	}
	header.Add("Vary", "Accept, Accept-Encoding")
	if answer.etag != "" {
		header.Set("ETag", answer.etag)
	}
	if err := send(w, r, answer); err != nil {
		h.Log.Debug("client went away", "path", short(r.URL.Path), "error", err)
	}
}

func send(w http.ResponseWriter, r *http.Request, a answer) error {
	if a.packed {
		return sendPacked(w, r, a)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, err := w.Write(a.body)
	return err
}

// answer never fails: what goes wrong is an answer, too.
func (h *router) answer(w http.ResponseWriter, r *http.Request) (a answer) {
	failed := "Could not answer the request"
	defer func() {
		if p := recover(); p != nil {
			h.Log.Error("handler panicked", "method", short(r.Method), "path", short(r.URL.Path), "panic", p, "stack", string(debug.Stack()))
			a = h.failure(r, failed, errPanic)
		}
	}()
	user, err := h.Authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="weft-cp"`)
		return h.failure(r, "Invalid authentication data", err)
	}
	known(r, user)
	route, err := h.find(w, r)
	if err != nil {
		return h.failure(r, failed, err)
	}
	failed = route.failed
	admitted, err := h.admits(route, r, user)
	if err != nil {
		return h.failure(r, failed, err)
	}
	if !admitted {
		return h.failure(r, failed, denial{user, route.action})
	}
	a, err = route.serve(call{r, user})
	if err != nil {
		return h.failure(r, failed, err)
	}
	return a
}

// find returns the route of a request, and gives the request its path values.
func (h *router) find(w http.ResponseWriter, r *http.Request) (route, error) {
	f := finder{header: http.Header{}}
	h.mux.ServeHTTP(&f, r)
	switch {
	case f.found != nil:
		return *f.found, nil
	case f.status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", f.header.Get("Allow"))
		return route{}, fmt.Errorf("%w: %s", errMethod, short(r.Method))
	default: // not found, or found at a tidier path, to which nobody is sent
		return route{}, errNoRoute
	}
}

// A finder is what the mux writes to: the route that fits, or a status.
type finder struct {
	found  *route
	header http.Header
	status int
}

func (f *finder) Header() http.Header         { return f.header }
func (f *finder) Write(b []byte) (int, error) { return len(b), nil }
func (f *finder) WriteHeader(status int)      { f.status = status }

// failure is the error document of err. What is our own fault is logged here.
func (h *router) failure(r *http.Request, title string, err error) answer {
	doc := document(title, err)
	if doc.Status >= http.StatusInternalServerError && !errors.Is(err, errPanic) {
		h.Log.Error("request failed", "method", short(r.Method), "path", short(r.URL.Path), "error", err)
	}
	if e := audit.Of(r.Context()); e != nil {
		e.Reason = doc.Detail
		for _, c := range doc.Causes {
			e.Reason += "; " + c.Field + ": " + c.Message
		}
	}
	if doc.Status == http.StatusUnauthorized || doc.Status == http.StatusForbidden {
		if tell, omitted := h.refusals.Tell(r.RemoteAddr); tell {
			h.Log.Warn("request refused", "method", short(r.Method), "path", short(r.URL.Path), "from", r.RemoteAddr, "status", doc.Status, "reason", doc.Detail, "not_told_before", omitted)
		}
	}
	a, err := asJSON(doc.Status, doc)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return a
}

// short cuts what a stranger sent to what a log line should hold.
func short(text string) string {
	const most = 128
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
