package mesh

import "slices"

// What an AccessRule may allow. Generating tokens and viewing are of the mesh
// that the rule names; those of no mesh need "*".
const (
	AccessRead              = "READ"
	AccessCreate            = "CREATE"
	AccessUpdate            = "UPDATE"
	AccessDelete            = "DELETE"
	AccessInspect           = "INSPECT"                     // plans, Envoy's configuration, stages
	AccessGenerateDataplane = "GENERATE_DATAPLANE_TOKEN"    // also join tokens
	AccessGenerateZone      = "GENERATE_ZONE_TOKEN"         // mesh "*" only
	AccessGenerateUser      = "GENERATE_USER_TOKEN"         // mesh "*" only; whoever has it can become anybody
	AccessRotate            = "ROTATE"                      // authorities and signing keys, and revoking
	AccessViewControlPlane  = "VIEW_CONTROL_PLANE_METADATA" // mesh "*" only: configuration and addresses
	anyAccess               = "*"
)

// accesses lists them, for messages.
var accesses = []string{
	AccessRead, AccessCreate, AccessUpdate, AccessDelete, AccessInspect, AccessGenerateDataplane,
	AccessGenerateZone, AccessGenerateUser, AccessRotate, AccessViewControlPlane,
}

// An AccessRole is what those may do whom an AccessRoleBinding gives it to.
// Nothing is denied by a role: what no rule allows is denied.
type AccessRole struct {
	Rules []AccessRule `json:"rules,omitempty"`
}

// An AccessRule allows what all of its fields fit.
type AccessRule struct {
	// Mesh is the mesh that it holds for, its Mesh resource included; "*" is
	// every mesh, and what belongs to none.
	Mesh string `json:"mesh"`
	// Types are names of kinds; "*" is every kind that is not for
	// administrators alone: Secrets, GlobalSecrets and roles must be named.
	Types []string `json:"types,omitempty"`
	// Names narrow it to resources of these names; none are all. Lists are not
	// allowed by a rule with names.
	Names []string `json:"names,omitempty"`
	// Access is what may be done; "*" is READ, CREATE, UPDATE, DELETE and
	// INSPECT.
	Access []string `json:"access,omitempty"`
}

// Validate tells everything that is wrong with it.
func (r *AccessRole) Validate() (v Violations) {
	if len(r.Rules) == 0 {
		v.Add("rules", "must not be empty")
	}
	for i, rule := range r.Rules {
		at := field("rules", i)
		if rule.Mesh != "*" {
			for _, w := range ValidateMeshName(rule.Mesh) {
				v.Add(field(at, "mesh"), `%s; "*" is every mesh`, w.Reason)
			}
		}
		types := false
		for j, name := range rule.Types {
			if _, ok := KindByName(name); !ok && name != "*" {
				v.Add(field(at, "types", j), "there is no kind %q", name)
			}
		}
		for j, name := range rule.Names {
			if name == "" {
				v.Add(field(at, "names", j), "must not be empty; leave names out for all")
			}
		}
		if len(rule.Access) == 0 {
			v.Add(field(at, "access"), "must not be empty")
		}
		for j, a := range rule.Access {
			if a != anyAccess && !slices.Contains(accesses, a) {
				v.Add(field(at, "access", j), "there is no access %q; there are %q and %q", a, accesses, anyAccess)
			}
			types = types || slices.Contains([]string{anyAccess, AccessRead, AccessCreate, AccessUpdate, AccessDelete}, a)
			if slices.Contains([]string{AccessGenerateZone, AccessGenerateUser, AccessViewControlPlane}, a) && rule.Mesh != "*" {
				v.Add(field(at, "access", j), `%s is of no mesh: it needs mesh "*"`, a)
			}
		}
		if types && len(rule.Types) == 0 {
			v.Add(field(at, "types"), `must name the kinds; "*" is every kind that is not for administrators alone`)
		}
	}
	return v
}

// An Access is one thing that somebody wants to do.
type Access struct {
	What string // AccessRead, …
	Kind *Kind  // nil: of no kind
	Mesh string // "": of no mesh, or of all
	Name string // "": a list, or nothing that has a name
}

// Allows tells whether the rule allows a.
func (r *AccessRule) Allows(a Access) bool {
	if r.Mesh != "*" && (a.Mesh == "" || r.Mesh != a.Mesh) {
		return false
	}
	if !slices.Contains(r.Access, a.What) {
		ordinary := slices.Contains([]string{AccessRead, AccessCreate, AccessUpdate, AccessDelete, AccessInspect}, a.What)
		if !ordinary || !slices.Contains(r.Access, anyAccess) {
			return false
		}
	}
	if a.Kind != nil && !slices.Contains(r.Types, a.Kind.Name) {
		if a.Kind.Admin || !slices.Contains(r.Types, "*") {
			return false
		}
	}
	return len(r.Names) == 0 || slices.Contains(r.Names, a.Name)
}

// Kinds of subjects.
const (
	SubjectUser  = "User"
	SubjectGroup = "Group"
)

// An AccessRoleBinding gives roles to users and groups, as their tokens name
// them.
type AccessRoleBinding struct {
	Subjects []AccessSubject `json:"subjects,omitempty"`
	Roles    []string        `json:"roles,omitempty"` // names of AccessRoles
}

// An AccessSubject is a user or a group.
type AccessSubject struct {
	Type string `json:"type"` // "User" or "Group"
	Name string `json:"name"`
}

// Validate tells everything that is wrong with it.
func (b *AccessRoleBinding) Validate() (v Violations) {
	if len(b.Subjects) == 0 {
		v.Add("subjects", "must not be empty")
	}
	for i, s := range b.Subjects {
		at := field("subjects", i)
		if s.Type != SubjectUser && s.Type != SubjectGroup {
			v.Add(field(at, "type"), "must be %q or %q", SubjectUser, SubjectGroup)
		}
		if s.Name == "" {
			v.Add(field(at, "name"), "must not be empty")
		}
	}
	if len(b.Roles) == 0 {
		v.Add("roles", "must not be empty")
	}
	for i, name := range b.Roles {
		if !namePattern.MatchString(name) {
			v.Add(field("roles", i), nameRule)
		}
	}
	return v
}

// Binds tells whether it speaks of a user, or of one of his groups.
func (b *AccessRoleBinding) Binds(user string, groups []string) bool {
	return slices.ContainsFunc(b.Subjects, func(s AccessSubject) bool {
		return s.Type == SubjectUser && s.Name == user || s.Type == SubjectGroup && slices.Contains(groups, s.Name)
	})
}
