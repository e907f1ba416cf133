//go:build !linux

package agent

func ownCgroup() string { return "" }
