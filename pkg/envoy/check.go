package envoy

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// checkTime is how long Envoy may take to tell its version, and pipeTime how
// long what it said may take to be read once it has ended: more than a busy
// machine has a program wait for a processor.
const (
	checkTime = time.Minute // it is a large program, and the disk may be slow
	pipeTime  = 10 * time.Second
)

var versionText = regexp.MustCompile(`version: [0-9a-f]+/(\d+\.\d+\.\d+[^/\s]*)/`)

// Check returns the version of an Envoy binary, "1.40.0". Its errors wrap
// ErrBinary and say what is wrong and what to do about it.
func Check(ctx context.Context, binary string) (string, error) { return CheckAs(ctx, binary, nil) }

// CheckAs is Check for an Envoy that another user is to run.
func CheckAs(ctx context.Context, binary string, u *User) (string, error) {
	bad := func(what, remedy string) (string, error) {
		return "", fmt.Errorf("%w at %s: %s: %s", ErrBinary, binary, what, remedy)
	}
	const bring = `install Envoy 1.40 there ("make envoy" fetches it), or name yours with ENVOY=/path`

	info, err := os.Stat(binary)
	switch {
	case binary == "" || errors.Is(err, fs.ErrNotExist):
		return bad("there is no such file", bring)
	case err != nil:
		return bad(err.Error(), bring)
	case !info.Mode().IsRegular():
		return bad("it is not a file", bring)
	case info.Mode()&0o111 == 0 && runtime.GOOS != "windows": // which has no such bits
		return bad("it is not executable", "run chmod +x "+binary)
	}
	if machine, err := elfMachine(binary); err != nil {
		return bad(err.Error(), bring)
	} else if want := machines[runtime.GOARCH]; machine != elf.EM_NONE && want != elf.EM_NONE && machine != want {
		return bad(fmt.Sprintf("it is built for %s, this machine is %s", machineName(machine), machineName(want)),
			"install the Envoy that is built for "+machineName(want))
	}

	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.SysProcAttr = u.credential()
	cmd.WaitDelay = pipeTime
	out := &head{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return bad(fmt.Sprintf("it did not tell its version: %v", ctx.Err()), bring)
	case errors.Is(err, fs.ErrPermission) && u != nil:
		return bad(fmt.Sprintf("user %s, whom it is to run as, may not run it", u), "chmod a+rx it and the folders above it, or choose another user")
	case errors.Is(err, fs.ErrNotExist):
		return bad("the loader that it was linked for is not on this machine",
			"install glibc, or an Envoy that is linked for this system")
	case err != nil:
		return bad(fmt.Sprintf("it did not tell its version: %v: %s", err, firstLine(out.text)), bring)
	}
	m := versionText.FindSubmatch(out.text)
	if m == nil {
		return bad(fmt.Sprintf("it does not say that it is Envoy, but %q", firstLine(out.text)), bring)
	}
	return string(m[1]), nil
}

// elfMachine returns what a binary was built for; EM_NONE for a script.
func elfMachine(path string) (elf.Machine, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("it cannot be read: %w", err)
	}
	defer f.Close()
	if runtime.GOOS != "linux" {
		return elf.EM_NONE, nil // other systems have programs of other kinds
	}
	start := make([]byte, 2)
	if _, err := f.ReadAt(start, 0); err == nil && string(start) == "#!" {
		return elf.EM_NONE, nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return 0, errors.New("it is not a program of this system")
	}
	return e.Machine, nil
}

// machines are those that Envoy is built for, by GOARCH.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func machineName(m elf.Machine) string {
	for arch, machine := range machines {
		if machine == m {
			return arch
		}
	}
	return m.String()
}

// head keeps the first max bytes that are written to it.
type head struct {
	max  int
	text []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.max-len(h.text))]...)
	return len(p), nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
