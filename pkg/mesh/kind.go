package mesh

import "reflect"

// Scope says where the names of a kind are unique.
type Scope int

const (
	// Global kinds have one namespace for the whole control plane.
	Global Scope = iota
	// InMesh kinds have one namespace per mesh.
	InMesh
)

// A Flow says which control planes write a kind, where there are several: the
// global one and those of zones. 0 is for what never leaves its control plane.
type Flow int

const (
	FromGlobal Flow = 1 << iota
	FromZone
)

// A Kind is one type of resource. REST routes, weftctl's verbs and the
// reference pages all derive from the Kinds table.
type Kind struct {
	Name     string   // "TrafficPermission", the "type" of its documents
	Path     string   // "traffic-permissions", in URLs
	Singular string   // "traffic-permission", what people type for one
	Aliases  []string // other paths that mean the same, for older clients
	Short    string   // the middle of its KRI, "tp"; "" when it has none
	MaxName  int      // the longest name, in bytes; 0 is MaxName
	Scope    Scope
	Flow     Flow
	Admin    bool    // only administrators read and write it
	ReadOnly bool    // the control plane tells it, nobody writes it
	Policy   *Policy // nil for what is no policy
	// Pending says why the kind has no effect yet, and what does its work
	// meanwhile, as it stands in Note; "" where it has its effect.
	Pending string
	New     func() Spec
}

// A Policy says how a policy chooses whom it is for. The zero value is for
// those that have selectors of tags.
type Policy struct {
	TargetRef bool // spec.targetRef chooses proxies
	To        bool // spec.to: for what they call
	From      bool // spec.from: for who calls them
	Rules     bool // spec.rules: as From, in the newer form
}

// Note tells people that a kind has no effect yet; "" where it has.
func (k *Kind) Note() string {
	if k.Pending == "" {
		return ""
	}
	return "a " + k.Name + " is checked and kept, and has no effect yet: " + k.Pending
}

// Nested tells whether documents of the kind have their fields under "spec",
// as those of all newer kinds do, and not beside their name.
func (k *Kind) Nested() bool {
	f, ok := reflect.TypeOf(k.New()).Elem().FieldByName("Spec")
	return ok && f.Tag.Get("json") == "spec"
}
