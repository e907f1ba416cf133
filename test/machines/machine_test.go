//go:build machines

package machines

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Machine is a whole host, spoken to over SSH.
type Machine struct {
	Name, IP string
	ssh      []string // ssh and its options, up to the host
	sudo     bool
	packages string             // where it has them already
	boots    func(t *testing.T) // what is to be done when it has been told to reboot
}

// patience is how long a test waits for what must come. Software emulation on a
// busy machine is slow.
const patience = 10 * time.Minute

// Run runs a shell command as root and returns what it printed.
func (m *Machine) Run(t *testing.T, command string) string {
	t.Helper()
	out, err := m.Try(t, command)
	if err != nil {
		t.Fatalf("%s# %s: %v\n%s", m.Name, command, err, out)
	}
	return out
}

// Try is Run for what may fail.
func (m *Machine) Try(t *testing.T, command string) (string, error) {
	t.Helper()
	return m.pipe(t, nil, command)
}

func (m *Machine) pipe(t *testing.T, in []byte, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if m.sudo {
		command = "sudo sh -c " + quote(command)
	}
	cmd := exec.CommandContext(ctx, m.ssh[0], append(m.ssh[1:len(m.ssh):len(m.ssh)], command)...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Put writes a file.
func (m *Machine) Put(t *testing.T, path, content string) {
	t.Helper()
	if out, err := m.pipe(t, []byte(content), fmt.Sprintf("mkdir -p %s && cat >%s", quote(filepath.Dir(path)), quote(path))); err != nil {
		t.Fatalf("put %s on %s: %v\n%s", path, m.Name, err, out)
	}
}

// Copy copies a file of this folder, or one with an absolute path, to a folder.
func (m *Machine) Copy(t *testing.T, file, dir string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m.Put(t, filepath.Join(dir, filepath.Base(file)), string(content))
}

// Eventually waits until a command succeeds.
func (m *Machine) Eventually(t *testing.T, command string) string {
	t.Helper()
	var out string
	eventually(t, fmt.Sprintf("%s# %s", m.Name, command), func() (err error) {
		if out, err = m.Try(t, command); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
	return out
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s; last: %v", patience, what, err)
		}
		<-tick.C
	}
}

// up waits until the machine has booted, whatever units came to.
func (m *Machine) up(t *testing.T) {
	t.Helper()
	m.Eventually(t, "systemctl is-system-running --wait | grep -qE 'running|degraded'")
}

const bootID = "cat /proc/sys/kernel/random/boot_id"

// Reboot returns when the machine has booted anew.
func (m *Machine) Reboot(t *testing.T) {
	t.Helper()
	before := m.Run(t, bootID)
	_, _ = m.Try(t, "systemctl reboot") // its connection is cut
	if m.boots != nil {
		m.boots(t)
	}
	eventually(t, m.Name+" has booted anew", func() error {
		now, err := m.Try(t, bootID)
		if err == nil && now == before {
			err = fmt.Errorf("it is still the boot before")
		}
		return err
	})
	m.up(t)
}
