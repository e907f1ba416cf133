//go:build !linux

package iptables

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

// A Flavour is one of the two kinds of iptables.
type Flavour string

const (
	NFT    Flavour = "nft"    // iptables over nf_tables
	Legacy Flavour = "legacy" // iptables over ip_tables
)

// An Engine redirects by iptables, on Linux.
type Engine struct{}

var _ redirect.Redirector = (*Engine)(nil)

// An Option changes an engine.
type Option func(*Engine)

// WithFlavour has no effect here.
func WithFlavour(Flavour) Option { return func(*Engine) {} }

// WithPath has no effect here.
func WithPath(...string) Option { return func(*Engine) {} }

// New makes an engine that answers redirect.ErrNotSupported.
func New(...Option) *Engine { return new(Engine) }

func elsewhere() error {
	return fmt.Errorf("redirect by iptables on %s: %w", runtime.GOOS, redirect.ErrNotSupported)
}

// Apply reports that redirection by iptables needs Linux.
func (e *Engine) Apply(context.Context, redirect.Rules) error { return elsewhere() }

// Probe reports that redirection by iptables needs Linux.
func (e *Engine) Probe(context.Context, redirect.Rules) error { return elsewhere() }

// Check reports that redirection by iptables needs Linux.
func (e *Engine) Check(context.Context, redirect.Rules) ([]redirect.Difference, error) {
	return nil, elsewhere()
}

// Remove succeeds: there is nothing to take back.
func (e *Engine) Remove(context.Context, string) error { return nil }

// Describe reports that redirection by iptables needs Linux.
func (e *Engine) Describe(redirect.Rules) (string, error) { return "", elsewhere() }
