package render

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	mtlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/principals/mtls_authenticated/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// unnamedPolicy is the name of the rule where whoever planned it gave none.
const unnamedPolicy = "allow"

// rbac lets the planned principals in and nobody else: without principals it
// has no policy, and ALLOW without a policy denies.
func (r *renderer) rbac(listener string, a proxy.Access) *listenerv3.Filter {
	rules := &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW}
	if len(a.Allow) > 0 {
		policy := &rbacv3.Policy{
			Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}},
		}
		for _, p := range a.Allow {
			policy.Principals = append(policy.Principals, r.principal(p))
		}
		name := a.Policy
		if name == "" {
			name = unnamedPolicy
		}
		rules.Policies = map[string]*rbacv3.Policy{name: policy}
	}
	return r.filter("envoy.filters.network.rbac", &rbacfilterv3.RBAC{
		Rules:      rules,
		StatPrefix: statName(listener) + ".",
	})
}

// principal matches a peer whose certificate carries all of p's URIs. The
// matcher reads URI SANs of the validated certificate only: the older
// authenticated.principal_name would fall back to DNS names and the subject.
func (r *renderer) principal(p proxy.Principal) *rbacv3.Principal {
	switch len(p.URIs) {
	case 0:
		return r.peer(&mtlsv3.Config{AnyValidatedClientCertificate: true})
	case 1:
		return r.carries(p.URIs[0])
	}
	all := make([]*rbacv3.Principal, 0, len(p.URIs))
	for _, uri := range p.URIs {
		all = append(all, r.carries(uri))
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: all}}}
}

func (r *renderer) carries(uri string) *rbacv3.Principal {
	return r.peer(&mtlsv3.Config{SanMatcher: uriSAN(&matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Exact{Exact: uri},
	})})
}

func (r *renderer) peer(m *mtlsv3.Config) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Custom{Custom: &corev3.TypedExtensionConfig{
		Name:        "envoy.rbac.principals.mtls_authenticated",
		TypedConfig: r.any(m),
	}}}
}
