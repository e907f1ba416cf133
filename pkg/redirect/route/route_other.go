//go:build !linux

// Package route keeps the routes that lead a mesh's services to the loopback
// device, on Linux.
package route
