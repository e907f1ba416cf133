package admission

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestExternalServiceIsWarnedOf(t *testing.T) {
	f := newFixture(t)
	name := "other.example.com"
	pem := &mesh.DataSource{InlineString: "PEM"}
	secret := &mesh.DataSource{Secret: "s"}
	for _, c := range []struct {
		name string
		tls  *mesh.ExternalTLS
		want string
	}{
		{"plain", nil, ""},
		{"ordinary", &mesh.ExternalTLS{Enabled: true, CACert: pem, ClientCert: pem, ClientKey: secret}, ""},
		{"off", &mesh.ExternalTLS{ServerName: &name}, "networking.tls.enabled is false"},
		{"any name", &mesh.ExternalTLS{Enabled: true, SkipHostnameVerification: true}, "networking.tls.skipHostnameVerification"},
		{"key in the open", &mesh.ExternalTLS{Enabled: true, ClientCert: pem, ClientKey: pem}, "networking.tls.clientKey stands in the resource"},
	} {
		got := strings.Join(f.put(t, mesh.Resource{
			Kind: mesh.ExternalServiceKind, Meta: mesh.Meta{Mesh: "default", Name: "pay"},
			Spec: &mesh.ExternalService{Networking: mesh.ExternalNetworking{Address: "pay.example.com:443", TLS: c.tls}, Tags: mesh.Tags{mesh.ServiceTag: "pay"}},
		}).Warnings, "; ")
		if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: warnings %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNativeWordsAreJudged(t *testing.T) {
	f := newFixture(t)
	f.Native = func(r mesh.Resource) (v mesh.Violations) {
		v.Add("conf.resources[0].resource", "is none of %s", r.Meta.Name)
		return v
	}
	_, err := f.Put(t.Context(), mesh.Resource{
		Kind: mesh.ProxyTemplateKind, Meta: mesh.Meta{Mesh: "default", Name: "t"},
		Spec: &mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Resources: []mesh.RawResource{{Name: "a", Version: "1", Resource: "x"}}}},
	})
	wantErr(t, err, mesh.ErrInvalid, "conf.resources[0].resource: is none of t")
}

func TestZone(t *testing.T) {
	f := newFixture(t)
	f.Zone = "east"
	r := f.put(t, dataplane("web-1", mesh.Tags{mesh.ServiceTag: "web"})).Resource
	if tags := r.Spec.(*mesh.Dataplane).Networking.Inbound[0].Tags; tags[mesh.ZoneTag] != "east" || r.Meta.Labels[mesh.ZoneLabel] != "east" {
		t.Errorf("tags %v, labels %v", tags, r.Meta.Labels)
	}
}
