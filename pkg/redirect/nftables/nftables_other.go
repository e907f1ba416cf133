//go:build !linux

package nftables

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// ErrNotOurs: a table of the wanted name, or a route to a wanted range, belongs
// to somebody else. It is left as it is.
var ErrNotOurs = errors.New("not ours")

// An Engine redirects by nftables, on Linux.
type Engine struct{}

var _ redirect.Redirector = (*Engine)(nil)

// New makes an engine that answers redirect.ErrNotSupported.
func New() *Engine { return new(Engine) }

func elsewhere() error {
	return fmt.Errorf("redirect by nftables on %s: %w", runtime.GOOS, redirect.ErrNotSupported)
}

// Apply reports that redirection by nftables needs Linux.
func (e *Engine) Apply(context.Context, redirect.Rules) error { return elsewhere() }

// Probe reports that redirection by nftables needs Linux.
func (e *Engine) Probe(context.Context, redirect.Rules) error { return elsewhere() }

// Check reports that redirection by nftables needs Linux.
func (e *Engine) Check(context.Context, redirect.Rules) ([]redirect.Difference, error) {
	return nil, elsewhere()
}

// Remove succeeds: there is nothing to take back.
func (e *Engine) Remove(context.Context, string) error { return nil }

// Describe reports that redirection by nftables needs Linux.
func (e *Engine) Describe(redirect.Rules) (string, error) { return "", elsewhere() }
