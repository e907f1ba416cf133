//go:build !linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// ErrNotOurs: a route to a wanted range belongs to somebody else. It is left as
// it is.
var ErrNotOurs = errors.New("not ours")

// An Engine redirects by eBPF, on Linux.
type Engine struct{}

var _ redirect.Redirector = (*Engine)(nil)

// An Option changes an engine.
type Option func(*Engine)

// WithCgroup has no effect here.
func WithCgroup(string) Option { return func(*Engine) {} }

// WithPins has no effect here.
func WithPins(string) Option { return func(*Engine) {} }

// New makes an engine that answers redirect.ErrNotSupported.
func New(...Option) *Engine { return new(Engine) }

func elsewhere() error {
	return fmt.Errorf("redirect by eBPF on %s: %w", runtime.GOOS, redirect.ErrNotSupported)
}

// Apply reports that redirection by eBPF needs Linux.
func (e *Engine) Apply(context.Context, redirect.Rules) error { return elsewhere() }

// Check reports that redirection by eBPF needs Linux.
func (e *Engine) Check(context.Context, redirect.Rules) ([]redirect.Difference, error) {
	return nil, elsewhere()
}

// Remove succeeds: there is nothing to take back.
func (e *Engine) Remove(context.Context, string) error { return nil }

// Describe reports that redirection by eBPF needs Linux.
func (e *Engine) Describe(redirect.Rules) (string, error) { return "", elsewhere() }
