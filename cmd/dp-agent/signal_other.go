//go:build !unix

package main

import "os"

// notifyReload sends nothing: there is no such signal. The file is watched.
func notifyReload(chan<- os.Signal) {}
