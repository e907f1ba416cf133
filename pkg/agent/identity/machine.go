package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// machineID tells this machine from others; "" where it has no id. It is a hash:
// machine-id(5) wants the id itself kept on the machine.
func machineID() string {
	for _, id := range machineNames() {
		if id := hashed("machine", id); id != "" {
			return id
		}
	}
	return ""
}

// bootID is another one after each boot; "" where that is not told.
func bootID() string { return hashed("boot", bootName()) }

func hashed(what, id string) string {
	id = strings.TrimSpace(id)
	if id == "" || id == "uninitialized" {
		return ""
	}
	sum := sha256.Sum256([]byte("weft " + what + " " + id))
	return hex.EncodeToString(sum[:16])
}
