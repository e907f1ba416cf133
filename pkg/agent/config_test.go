package agent

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// joined is the configuration of a host that has joined, with defaults.
func joined(t *testing.T, args ...string) Config {
	t.Helper()
	var c Config
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Bind(fs)
	args = append([]string{"--mesh=default", "--name=web-1", "--service=web", "--port=8080", "--control-plane=192.0.2.1:5678"}, args...)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	c := joined(t)
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := c.Rules(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEachFault(t *testing.T) {
	tests := map[string]string{
		"--mesh=":                                "mesh: is not set; join the host first",
		"--name=Web_1":                           "name: ",
		"--service=":                             "service: is not set",
		"--port=0":                               "port: is not set",
		"--protocol=gopher":                      "protocol: ",
		"--address=web.example":                  "address: ",
		"--address=0.0.0.0":                      "address: ",
		"--service-address=localhost":            "serviceAddress: ",
		"--control-plane=cp":                     "controlPlane: ",
		"--state-dir=state":                      "stateDir: ",
		"--run-dir=/" + strings.Repeat("x", 100): "runDir: is 101 bytes long",
		"--envoy-log-level=loud":                 "envoyLogLevel: ",
		"--drain-time=1h":                        "drainTime: ",
		"--dns-port=15006":                       "dnsPort: 15006 is inboundPort too",
		"--inbound-port=8080":                    "inboundPort: 8080 is port too",
		"--inbound=some":                         `inbound: "some" is neither service nor all`,
		"--gateway":                              "port: is set, but a gateway takes calls by itself",
		"--redirect-engine=ipchains":             `redirectEngine: "ipchains" is none of auto, nftables, iptables`,
	}
	var all []string
	for arg, want := range tests {
		c := joined(t, arg)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", arg, err, want)
		}
		if !strings.HasPrefix(arg, "--address=web") && !strings.HasPrefix(arg, "--inbound-port") && arg != "--gateway" {
			all = append(all, arg)
		}
	}
	c := joined(t, all...)
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") < 10 {
		t.Errorf("of everything wrong at once only this is told: %v", err)
	}
}

// The document that registers the host is one that the control plane takes.
func TestDataplaneIsValid(t *testing.T) {
	for _, args := range [][]string{nil, {"--redirect=false", "--service-address=127.0.0.2"}, {"--tag=version=v1,team=a", "--protocol=grpc"}, {"--forwarded=docker0"}} {
		c := joined(t, args...)
		doc := c.Dataplane(netip.MustParseAddr("2001:db8::1"))
		r, err := api.DecodeAs(mesh.DataplaneKind, doc)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, doc)
		}
		if v := r.Validate(); len(v) > 0 {
			t.Errorf("%v: %v\n%s", args, v, doc)
		}
		dp := r.Spec.(*mesh.Dataplane)
		if got := dp.ServiceAddress(0); got != "127.0.0.1" && got != "127.0.0.2" {
			t.Errorf("%v: the service is called at %s", args, got)
		}
		if (dp.Networking.TransparentProxying != nil) != c.Redirect {
			t.Errorf("%v: %s", args, doc)
		}
		if tp := dp.Networking.TransparentProxying; tp != nil && tp.RedirectForwarded != (len(c.Forwarded) > 0) {
			t.Errorf("%v: %s", args, doc)
		}
		if !json.Valid(doc) {
			t.Errorf("no JSON: %s", doc)
		}
	}
}

func TestGatewayHasNoInbound(t *testing.T) {
	c := joined(t, "--gateway", "--port=0", "--tag=team=shop")
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	doc, err := api.Decode(c.Dataplane(netip.MustParseAddr("192.0.2.1")))
	if err != nil {
		t.Fatal(err)
	}
	dp := doc.Spec.(*mesh.Dataplane)
	if err := dp.Validate().Err(); err != nil {
		t.Error(err)
	}
	g, redirected := dp.Networking.Gateway, dp.Networking.TransparentProxying
	if g == nil || g.Type != mesh.Delegated || g.Tags.String() != "{kuma.io/service=web, team=shop}" || len(dp.Networking.Inbound) > 0 {
		t.Errorf("gateway %+v, inbound %v", g, dp.Networking.Inbound)
	}
	if (redirected != nil) != canRedirect || redirected != nil && (redirected.RedirectPortInbound != 0 || redirected.RedirectPortOutbound == 0) {
		t.Errorf("redirected %+v", redirected)
	}
	for _, arg := range []string{"--inbound=all", "--exclude-inbound=port:22"} {
		c := joined(t, "--gateway", "--port=0", arg)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "a gateway is called past Envoy") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
