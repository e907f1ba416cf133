package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/settings"
)

// loaded reads a file as weft-agent does.
func loaded(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := new(Config)
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Bind(fs)
	err := settings.Load(fs, file, false, func(string) string { return "" }, c.Lists(fs)...)
	if err == nil {
		err = c.Faults()
	}
	return c, err
}

const twoWorkloads = `controlPlane: ["192.0.2.1:5678"]
drainTime: 7s
mesh: default
name: web-1
service: web
port: 8080
only: ["user:1001"]
workloads:
- {workload: db, mesh: default, name: db-1, service: db, port: 5432, only: ["user:1002"], outboundPort: 15101, inboundPort: 15106, dnsPort: 15153, envoyDnsPort: 15154, metricsPort: 15190}
- workload: batch
  mesh: other
  name: db-1
  service: batch
  port: 8081
  drainTime: 9s
  redirectTable: theirs
  only: [cgroup: batch.slice]
  outboundPort: 15201
  inboundPort: 15206
  dnsPort: 15253
  envoyDnsPort: 15254
  metricsPort: 15290
`

func TestWorkloads(t *testing.T) {
	c, err := loaded(t, twoWorkloads)
	if err != nil {
		t.Fatal(err)
	}
	all := c.Workloads()
	if len(all) != 3 {
		t.Fatalf("%d workloads, want 3", len(all))
	}
	for i, want := range []struct{ state, run, table, drain, cp string }{
		{defaultStateDir, defaultRunDir, "weft", "7s", "192.0.2.1:5678"},
		{filepath.Join(defaultStateDir, "workloads", "db"), filepath.Join(defaultRunDir, "db"), "weft-db", "7s", "192.0.2.1:5678"},
		{filepath.Join(defaultStateDir, "workloads", "batch"), filepath.Join(defaultRunDir, "batch"), "theirs", "9s", "192.0.2.1:5678"},
	} {
		w := all[i]
		if w.StateDir != want.state || w.RunDir != want.run || w.RedirectTable != want.table || w.DrainTime.String() != want.drain || strings.Join(w.ControlPlanes, "") != want.cp {
			t.Errorf("workload %q: %q %q %q %s %v, want %+v", w.Workload, w.StateDir, w.RunDir, w.RedirectTable, w.DrainTime, w.ControlPlanes, want)
		}
	}
	// What is printed says the same again.
	for _, printed := range []func(*pflag.FlagSet, ...settings.List) ([]byte, error){settings.YAML, settings.Changed} {
		text, err := printed(c.flags, c.Lists(c.flags)...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := loaded(t, string(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if second, err := printed(again.flags, again.Lists(again.flags)...); err != nil || string(second) != string(text) {
			t.Errorf("printed\n%s\nand then\n%s", text, second)
		}
	}
}

func TestWorkloadsApart(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"workload: db,", "workload: DB,", `workloads[DB].workload: "DB" must be a letter`},
		{"workload: db,", "", `workloads[].workload: ""`},
		{"workload: db,", "workload: batch,", "workloads[batch].workload: workload batch is workload batch's already"},
		{"service: db,", "", "workloads[db].service: is not set"},
		{"outboundPort: 15101,", "", "workloads[db].outboundPort: is not set; 15301 is free"},
		{"outboundPort: 15101", "outboundPort: 15001", "workloads[db].outboundPort: port 15001 is the workload at the top's already"},
		{"name: db-1,", "name: web-1,", "workloads[db].name: Dataplane web-1 of mesh default is the workload at the top's already"},
		{"redirectTable: theirs", "redirectTable: weft", "workloads[batch].redirectTable: table weft is the workload at the top's"},
		{"user:1002", "user:1001", "workloads[db].only: the workload at the top redirects already what this one would: calls of user 1001"},
		{`only: ["user:1001"]`, "", "workloads[db].only: the workload at the top redirects already what this one would: everybody's calls"},
		{"port: 5432", "port: 8080", "workloads[db].port: port 8080 is the workload at the top's"},
		{"user:1002", "nobody at all", `workloads[db].only: "nobody at all" is not of the form`},
		{"{workload: db,", "{stateDir: /x, workload: db,", "workloads[0]: stateDir: unknown setting"},
		{"port: 5432", "port: x", "workloads[0].port: "},
		{"- {workload: db", "- web\n- {workload: db", "workloads[0]: must be a map of settings"},
	} {
		if strings.Contains(c.want, "redirects already") && !canRedirect {
			continue
		}
		_, err := loaded(t, strings.Replace(twoWorkloads, c.from, c.to, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.to, c.from, err, c.want)
		}
	}
}

// A workload that joins gets ports that nobody has, and what is the host's
// stays at the top.
func TestFurther(t *testing.T) {
	c, err := loaded(t, twoWorkloads)
	if err != nil {
		t.Fatal(err)
	}
	given := pflag.NewFlagSet("given", pflag.ContinueOnError)
	new(Config).Bind(given)
	if err := given.Parse([]string{"--service=new", "--tag=a=b,c=d", "--only=user:1003", "--log-level=debug", "--port=9000"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Further("new", given); err != nil {
		t.Fatal(err)
	}
	w, err := c.Of("new")
	if err != nil {
		t.Fatal(err)
	}
	if w.OutboundPort != 15301 || w.MetricsPort != 15390 || w.Tags["c"] != "d" || w.LogLevel != "debug" || c.LogLevel != "debug" || w.DrainTime.String() != "7s" {
		t.Errorf("%+v", w)
	}
	c.Drop("new")
	if _, err := c.Of("new"); err == nil {
		t.Error("it was dropped, and is there")
	}
}
