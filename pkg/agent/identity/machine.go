package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// Where the machine says which it is, and since which boot. In a container
// either may be the machine's beneath, or nothing.
var (
	machineFiles = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}
	bootFile     = "/proc/sys/kernel/random/boot_id"
)

// machineID tells this machine from others; "" where it has no id. It is a hash:
// machine-id(5) wants the id itself kept on the machine.
func machineID() string {
	for _, f := range machineFiles {
		if id := hashed("machine", f); id != "" {
			return id
		}
	}
	return ""
}

// bootID is another one after each boot.
func bootID() string { return hashed("boot", bootFile) }

func hashed(what, file string) string {
	data, err := os.ReadFile(file)
	id := strings.TrimSpace(string(data))
	if err != nil || id == "" || id == "uninitialized" {
		return ""
	}
	sum := sha256.Sum256([]byte("weft " + what + " " + id))
	return hex.EncodeToString(sum[:16])
}
