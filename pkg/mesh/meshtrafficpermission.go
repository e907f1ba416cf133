package mesh

// A MeshTrafficPermission says who may call whom. What no permission allows is
// denied.
type MeshTrafficPermission struct {
	Spec MeshTrafficPermissionSpec `json:"spec"`
}

// A MeshTrafficPermissionSpec is for who calls the proxies that it chooses.
type MeshTrafficPermissionSpec struct {
	TargetRef *TargetRef             `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	From      []Targeted[FromAction] `json:"from,omitempty"`      // the older form of rules
	Rules     []Ruled[Permissions]   `json:"rules,omitempty"`
}

// A FromAction is what becomes of calls from one place.
type FromAction struct {
	Action string `json:"action,omitempty"` // Allow, Deny, AllowWithShadowDeny
}

// Permissions are clients by who they are. Deny wins over
// AllowWithShadowDeny, and that over Allow; who is in none is denied.
type Permissions struct {
	Deny                []ClientMatch `json:"deny,omitempty"`
	AllowWithShadowDeny []ClientMatch `json:"allowWithShadowDeny,omitempty"` // allowed, and noted as if denied
	Allow               []ClientMatch `json:"allow,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshTrafficPermission) Validate() (v Violations) {
	p := &s.Spec
	v = append(v, p.TargetRef.validate("spec.targetRef", chosen)...)
	v = append(v, validateSections(0, len(p.From), len(p.Rules), false)...)
	from := []string{RefMesh, RefMeshSubset, RefService, RefServiceSubset}
	v = append(v, validateTargeted("spec.from", p.From, from, func(path string, c *FromAction) Violations {
		return listed(field(path, "action"), c.Action, []string{"Allow", "Deny", "AllowWithShadowDeny"})
	})...)
	return append(v, validateRuled("spec.rules", p.Rules, func(path string, c *Permissions) Violations {
		return c.validate(path)
	})...)
}

func (p *Permissions) validate(path string) (v Violations) {
	if len(p.Deny) == 0 && len(p.AllowWithShadowDeny) == 0 && len(p.Allow) == 0 {
		v.Add(path, "must have at least one of deny, allowWithShadowDeny and allow")
	}
	for _, l := range []struct {
		name string
		of   []ClientMatch
	}{{"deny", p.Deny}, {"allowWithShadowDeny", p.AllowWithShadowDeny}, {"allow", p.Allow}} {
		for i := range l.of {
			v = append(v, l.of[i].validate(field(path, l.name, i))...)
		}
	}
	return v
}
