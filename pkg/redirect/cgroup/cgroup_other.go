//go:build !linux

// Package cgroup finds the folders of the cgroup v2 tree by which redirection
// tells processes, on Linux.
package cgroup
