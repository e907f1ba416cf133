package rest

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A resourceType is how /_resources describes a kind.
type resourceType struct {
	IncludeInFederation bool        `json:"includeInFederation"`
	Name                string      `json:"name"`
	Path                string      `json:"path"`
	PluralDisplayName   string      `json:"pluralDisplayName"`
	Policy              *policyType `json:"policy,omitempty"`
	ReadOnly            bool        `json:"readOnly"`
	Scope               string      `json:"scope"`
	ShortName           string      `json:"shortName"`
	SingularDisplayName string      `json:"singularDisplayName"`
}

// A policyType says which sections a policy has. Those that pick by sources and
// destinations have none of them.
type policyType struct {
	HasFromTargetRef  bool `json:"hasFromTargetRef"`
	HasRulesTargetRef bool `json:"hasRulesTargetRef"`
	HasToTargetRef    bool `json:"hasToTargetRef"`
	IsFromAsRules     bool `json:"isFromAsRules"`
	IsTargetRef       bool `json:"isTargetRef"`
}

// A policyInfo is how /policies describes a kind.
type policyInfo struct {
	Name                string `json:"name"`
	ReadOnly            bool   `json:"readOnly"`
	Path                string `json:"path"`
	SingularDisplayName string `json:"singularDisplayName"`
	PluralDisplayName   string `json:"pluralDisplayName"`
	IsExperimental      bool   `json:"isExperimental"`
	IsTargetRefBased    bool   `json:"isTargetRefBased"`
	IsInbound           bool   `json:"isInbound"`
	IsOutbound          bool   `json:"isOutbound"`
}

// resourceTypes answers with the kinds that the user may read: an export asks
// for each of them.
func (s *Server) resourceTypes(c call) (answer, error) {
	types := []resourceType{}
	for _, k := range kindsByName() {
		if k.Admin && !s.everywhere(c.user, AdminResources) {
			continue
		}
		t := resourceType{
			IncludeInFederation: k.Flow&mesh.FromGlobal != 0,
			Name:                k.Name,
			Path:                k.Path,
			PluralDisplayName:   plural(k),
			Scope:               "Global",
			ReadOnly:            k.ReadOnly,
			ShortName:           k.Short,
			SingularDisplayName: singular(k),
		}
		if k.Scope == mesh.InMesh {
			t.Scope = "Mesh"
		}
		if p := k.Policy; p != nil {
			t.Policy = &policyType{IsTargetRef: p.TargetRef, HasToTargetRef: p.To, HasFromTargetRef: p.From, HasRulesTargetRef: p.Rules}
		}
		types = append(types, t)
	}
	return asJSON(http.StatusOK, map[string]any{"resources": types})
}

func (s *Server) policyTypes(call) (answer, error) {
	policies := []policyInfo{}
	for _, k := range kindsByName() {
		if p := k.Policy; p != nil {
			policies = append(policies, policyInfo{
				Name: k.Name, Path: k.Path, SingularDisplayName: singular(k), PluralDisplayName: plural(k),
				IsTargetRefBased: p.TargetRef, IsInbound: p.From || p.Rules, IsOutbound: p.To,
			})
		}
	}
	return asJSON(http.StatusOK, map[string]any{"policies": policies})
}

func kindsByName() []*mesh.Kind {
	return slices.SortedFunc(slices.Values(mesh.Kinds), func(a, b *mesh.Kind) int { return strings.Compare(a.Name, b.Name) })
}

// singular turns TrafficPermission into "Traffic Permission", and MeshHTTPRoute
// into "Mesh HTTP Route".
func singular(k *mesh.Kind) string {
	var b strings.Builder
	name := []rune(k.Name)
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(name[i-1]) || i+1 < len(name) && unicode.IsLower(name[i+1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plural is singular with the ending that the kind's path has.
func plural(k *mesh.Kind) string {
	name, path := strings.ToLower(k.Name), strings.ReplaceAll(k.Path, "-", "")
	same := 0
	for same < min(len(name), len(path)) && name[same] == path[same] {
		same++
	}
	one := singular(k)
	return one[:len(one)-(len(name)-same)] + path[same:]
}
