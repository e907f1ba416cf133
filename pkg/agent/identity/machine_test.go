package identity

import (
	"encoding/hex"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A machine that says which it is has one id, which is not that word.
func TestMachineID(t *testing.T) {
	names := machineNames()
	says := slices.ContainsFunc(names, func(n string) bool { n = strings.TrimSpace(n); return n != "" && n != "uninitialized" })
	if !says && runtime.GOOS == "windows" {
		t.Errorf("every Windows has a name, this has %q", names)
	}
	id := machineID()
	if raw, err := hex.DecodeString(id); err != nil || says != (len(raw) == 16) || id != machineID() {
		t.Errorf("of %q it is %q, then %q", names, id, machineID())
	}
	if says && slices.ContainsFunc(names, func(n string) bool { return strings.TrimSpace(n) == id || hashed("boot", n) == id }) {
		t.Errorf("%q is told as it is, or as a boot", id)
	}
}
