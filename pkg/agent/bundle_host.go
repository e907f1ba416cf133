package agent

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// listFiles tells of every file of the host's agent what can be seen from
// outside: also of those that were set aside.
func listFiles(_ context.Context, cfg Config) ([]byte, error) {
	var b bytes.Buffer
	for _, dir := range []string{cfg.StateDir, cfg.RunDir} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				fmt.Fprintln(&b, err)
				return nil
			}
			info, err := os.Lstat(path)
			if err != nil {
				fmt.Fprintln(&b, err)
				return nil //nolint:nilerr // it is told
			}
			fmt.Fprintf(&b, "%s %s %10d %s %s\n", info.Mode(), ownerOf(info), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// listNetwork is the host's interfaces, their addresses, and the kernel's routes.
func listNetwork(context.Context, Config) ([]byte, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, i := range all {
		addresses, err := i.Addrs()
		fmt.Fprintf(&b, "%d %s mtu %d %s %v", i.Index, i.Name, i.MTU, i.Flags, addresses)
		if err != nil {
			fmt.Fprintf(&b, " %s", err)
		}
		fmt.Fprintln(&b)
	}
	for _, file := range []string{"route", "ipv6_route"} { // of this network, in the kernel's own form
		if text, err := os.ReadFile(filepath.Join("/proc/net", file)); err == nil {
			fmt.Fprintf(&b, "\n%s:\n%s", file, text)
		}
	}
	return b.Bytes(), nil
}
