//go:build !linux

// Package sockets looks up this host's TCP and UDP sockets and whose they are,
// on Linux.
package sockets
