//go:build linux

package testnet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Since is the kernel from which everything that redirection uses is there, if
// it was configured.
var Since = [2]int{5, 10}

// SkipIfUnsupported ends the test when err is not nil: with a skip when err is
// redirect.ErrNotSupported on a kernel before Since, else with a failure.
func SkipIfUnsupported(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	kernel, kernelErr := kernelVersion()
	if kernelErr != nil {
		t.Fatal(kernelErr)
	}
	if reason := skipReason(err, kernel); reason != "" {
		t.Skip(reason)
	}
	t.Fatalf("%v (Linux %d.%d has what it takes from %d.%d on)", err, kernel[0], kernel[1], Since[0], Since[1])
}

// skipReason is empty where err is no reason to skip.
func skipReason(err error, kernel [2]int) string {
	old := kernel[0] < Since[0] || kernel[0] == Since[0] && kernel[1] < Since[1]
	if old && errors.Is(err, redirect.ErrNotSupported) {
		return fmt.Sprintf("Linux %d.%d: %v", kernel[0], kernel[1], err)
	}
	return ""
}

func kernelVersion() (v [2]int, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return v, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	release, _, _ := strings.Cut(string(u.Release[:]), "\x00")
	if _, err := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); err != nil {
		return v, fmt.Errorf("read kernel version %q: %w", release, err)
	}
	return v, nil
}
