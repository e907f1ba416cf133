package rest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// What pages of other origins may do where they may do anything. A cookie is no
// credential here, so browsers are never told to send any.
var corsHeaders = map[string]string{
	"Access-Control-Allow-Methods": "GET, PUT, POST, DELETE",
	"Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match",
	"Access-Control-Max-Age":       "600",
}

// shared lets pages of s.Origins read the answer. A question of a browser whether
// a page may ask is answered here, before anybody is known: it carries no
// credential, and its answer says nothing of the mesh.
func (s *Server) shared(w http.ResponseWriter, r *http.Request) (done bool) {
	if len(s.Origins) == 0 {
		return false
	}
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.ContainsFunc(s.Origins, func(allowed *regexp.Regexp) bool {
		return allowed.FindString(origin) == origin
	}) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "ETag, Warning")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	for name, value := range corsHeaders {
		w.Header().Set(name, value)
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// Under serves h below a path, "/mesh", and nothing elsewhere.
func Under(base string, h http.Handler) http.Handler {
	if base = strings.TrimSuffix(base, "/"); base == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, below := strings.CutPrefix(r.URL.Path, base)
		if !below || path != "" && path[0] != '/' || r.URL.RawPath != "" && !strings.HasPrefix(r.URL.RawPath, base) {
			http.Error(w, "this control plane answers below "+base, http.StatusNotFound)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = "/"+strings.TrimPrefix(path, "/"), strings.TrimPrefix(r.URL.RawPath, base)
		h.ServeHTTP(w, inner)
	})
}
