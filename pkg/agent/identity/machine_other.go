//go:build !windows

package identity

import "os"

// machineNames are what the machine says that it is, the first that says so
// counting. In a container it may be the machine's beneath, or nothing.
func machineNames() []string {
	return []string{text("/etc/machine-id"), text("/var/lib/dbus/machine-id")}
}

func bootName() string { return text("/proc/sys/kernel/random/boot_id") }

func text(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(data)
}
