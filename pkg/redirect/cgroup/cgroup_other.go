//go:build !linux

// Package cgroup finds folders of the cgroup v2 tree, on Linux.
package cgroup
