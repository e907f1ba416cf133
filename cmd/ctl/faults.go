package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// status is the HTTP status that the control plane answered with; 0 where it
// did not answer.
func status(err error) int {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Status
	}
	return 0
}

// noMesh tells whether err says that the mesh itself is not there: control
// planes say so by this title.
func noMesh(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Status == http.StatusNotFound && e.Title == "Failed to retrieve Mesh"
}

// notFound tells whether err says that a resource is not there, though its
// mesh is.
func notFound(err error) bool { return status(err) == http.StatusNotFound && !noMesh(err) }

// about says in which resource the control plane found fault, in words that
// need no knowledge of HTTP.
func about(key mesh.Key, err error) error {
	switch {
	case status(err) == 0:
		return err
	case notFound(err):
		return fmt.Errorf("there is no %s", key)
	default:
		return fmt.Errorf("%s: %w", key, inMesh(key.Mesh, err))
	}
}

// inMesh adds what helps where the mesh is not there, or the caller is unknown.
func inMesh(name string, err error) error {
	switch {
	case noMesh(err):
		return fmt.Errorf("there is no mesh %q; `weftctl get meshes` lists them", name)
	case status(err) == http.StatusUnauthorized:
		return fmt.Errorf("%w\ngive an API token with --token-file, or run as root on the control plane's machine", err)
	default:
		return err
	}
}
