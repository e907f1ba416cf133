//go:build machines

package machines

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is what README has between fences; the second word after them says on
// which machine it is typed, or which file it is.
var block = regexp.MustCompile("(?ms)^```(sh|yaml) ([-a-z.]+)\n(.*?)^```$")

// readme types what README says, line by line.
func (s *scene) readme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllStringSubmatch(string(text), -1)
	on := map[string]*Machine{"cp": s.cp, "api": s.api, "web": s.web}
	for name, m := range on {
		what := "weft-agent"
		if name == "cp" {
			what = "weft-cp"
		}
		m.Run(t, "rm -rf /srv/readme; mkdir /srv/readme")
		m.Copy(t, s.deb(t, what, "new"), "/srv/readme")
	}
	// The service that README speaks of; the one before ended with a boot.
	s.api.Copy(t, "guest/service.py", "/srv/weft")
	s.api.Run(t, "systemctl stop demo 2>/dev/null; systemd-run --unit demo python3 /srv/weft/service.py")
	typed := 0
	for _, b := range blocks {
		if b[1] == "yaml" {
			s.cp.Put(t, "/srv/readme/"+b[2], b[3])
		}
	}
	for _, b := range blocks {
		m := on[b[2]]
		if b[1] != "sh" || m == nil {
			continue
		}
		for line := range strings.Lines(b[3]) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "<token>") {
				token := s.cp.Run(t, "weftctl join-token --tag kuma.io/service="+b[2])
				line = strings.ReplaceAll(line, "<token>", token)
			}
			line = strings.Replace(line, "apt-get install", "apt-get install -y", 1)
			typed++
			// A person would look again, too, when something has just begun.
			switch {
			case strings.HasPrefix(line, "curl"):
				m.Eventually(t, line+" --fail")
			case line == "weft-agent status":
				m.Eventually(t, line)
			default:
				m.Run(t, "cd /srv/readme && "+line)
			}
		}
	}
	if typed < 9 {
		t.Errorf("README has only %d commands to type: are its blocks still marked?", typed)
	}
}
