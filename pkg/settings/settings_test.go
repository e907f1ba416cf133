package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type config struct {
	dir     string
	port    uint16
	wait    time.Duration
	debug   bool
	addrs   []string
	tags    map[string]string
	cfgFile string
}

func bind(c *config) *pflag.FlagSet {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.StringVar(&c.dir, "data-dir", "/default", "")
	fs.Uint16Var(&c.port, "port", 1, "")
	fs.DurationVar(&c.wait, "drain-time", time.Second, "")
	fs.BoolVar(&c.debug, "debug", false, "")
	fs.StringSliceVar(&c.addrs, "advertise", nil, "")
	fs.StringToStringVar(&c.tags, "tag", nil, "")
	fs.StringVar(&c.cfgFile, "config", "", "")
	FlagOnly(fs, "config")
	return fs
}

func TestLaterSourceWins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "dataDir: /file\nport: 2\ndrainTime: 2s\nadvertise: [a, b]\ntag: {x: 1, team: z}\n")
	env := map[string]string{"WEFT_PORT": "3", "WEFT_DRAIN_TIME": "3s"}
	var c config
	fs := bind(&c)
	whole := pflag.NewFlagSet("command", pflag.ContinueOnError) // as a command adds the settings to flags of its own
	whole.AddFlagSet(fs)
	if err := whole.Parse([]string{"--drain-time=4s"}); err != nil {
		t.Fatal(err)
	}
	if err := Load(fs, file, false, func(k string) string { return env[k] }); err != nil {
		t.Fatal(err)
	}
	if c.dir != "/file" || c.port != 3 || c.wait != 4*time.Second || strings.Join(c.addrs, ",") != "a,b" || c.tags["x"] != "1" || c.tags["team"] != "z" {
		t.Errorf("got %+v", c)
	}
}

func TestEffectiveSettingsAreAFixedPoint(t *testing.T) {
	for _, args := range [][]string{{"--data-dir=/x", "--advertise=a,b", "--tag=k=v", "--debug", "--port=7"}, nil} {
		t.Run(strings.Join(args, " "), func(t *testing.T) { fixedPoint(t, args) })
	}
}

func fixedPoint(t *testing.T, args []string) {
	var c config
	fs := bind(&c)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	out, err := YAML(fs)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, string(out))
	var again config
	fs2 := bind(&again)
	if err := Load(fs2, file, false, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	out2, err := YAML(fs2)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(out2) || again.debug != c.debug || again.port != c.port {
		t.Errorf("first:\n%s\nagain:\n%s", out, out2)
	}
	if strings.Contains(string(out), "config") {
		t.Errorf("a flag that is no setting is printed:\n%s", out)
	}
}

func TestChangedLeavesDefaultsOut(t *testing.T) {
	var c config
	fs := bind(&c)
	c.port = 9 // as a program sets it, not a flag
	out, err := Changed(fs)
	if err != nil || string(out) != "port: 9\n" {
		t.Errorf("error %v, got:\n%s", err, out)
	}
}

// An entry may be written with a space behind its colon, as YAML has it.
func TestEntriesOfLists(t *testing.T) {
	for text, want := range map[string]string{
		"advertise: [\"port:25\", port:26]\n":             "port:25|port:26",
		"advertise:\n- port: 25\n- cidr: fd00::/8\n- 7\n": "port:25|cidr:fd00::/8|7",
		"advertise:\n- a: 1\n  b: 2\n":                    "",
		"advertise:\n- a: {b: 2}\n":                       "",
		"advertise:\n- [a]\n":                             "",
		"advertise:\n- a:\n":                              "",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		write(t, file, text)
		var c config
		err := Load(bind(&c), file, false, func(string) string { return "" })
		if got := strings.Join(c.addrs, "|"); got != want || (want == "") != (err != nil) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "advertise: has an entry") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFaultsNameTheirSource(t *testing.T) {
	tests := []struct{ name, file, env, want string }{
		{"unknown key", "datadir: /x", "", "datadir: unknown setting; known are advertise, dataDir"},
		{"wrong type", "port: many", "", `port: `},
		{"list for one", "dataDir: [a]", "", "dataDir: is a list, but must be string"},
		{"map for one", "dataDir: {a: b}", "", "dataDir: is a map, but must be string"},
		{"no value", "dataDir:", "", "dataDir: has no value"},
		{"not a map", "- a", "", "not a YAML map"},
		{"environment", "", "many", `environment WEFT_PORT="many"`},
		{"flag only", "config: x", "", "config: unknown setting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			write(t, file, tt.file)
			var c config
			err := Load(bind(&c), file, false, func(k string) string {
				if k == "WEFT_PORT" {
					return tt.env
				}
				return ""
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	var c config
	none := filepath.Join(t.TempDir(), "none.yaml")
	if err := Load(bind(&c), none, true, func(string) string { return "" }); err != nil {
		t.Errorf("an optional file is missed: %v", err)
	}
	if err := Load(bind(&c), none, false, func(string) string { return "" }); err == nil {
		t.Error("a file that was asked for is not missed")
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
