//go:build !linux

// Package pending has calls that began while rules were away meet the rules all
// the same, on Linux.
package pending
