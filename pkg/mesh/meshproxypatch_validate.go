package mesh

import (
	"slices"
	"strings"
)

// What a MeshProxyPatch does.
var (
	wholePatches  = []string{"Add", "Remove", "Patch"}
	filterPatches = []string{"Remove", "Patch", "AddFirst", "AddBefore", "AddAfter", "AddLast"}
)

// Validate tells everything that is wrong but what takes the proxy's own words
// to know.
func (s *MeshProxyPatch) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway}, func(path string, c *MeshProxyPatchConf) (v Violations) {
		if len(c.AppendModifications) == 0 {
			v.Add(field(path, "appendModifications"), "must have at least one modification")
		}
		for i := range c.AppendModifications {
			v = append(v, c.AppendModifications[i].validate(field(path, "appendModifications", i))...)
		}
		return v
	})
}

func (p *ProxyPatch) validate(path string) (v Violations) {
	v = append(v, exactlyOne(path, map[string]bool{
		"cluster": p.Cluster != nil, "listener": p.Listener != nil, "networkFilter": p.NetworkFilter != nil,
		"httpFilter": p.HTTPFilter != nil, "virtualHost": p.VirtualHost != nil,
	})...)
	if c, at := p.Cluster, field(path, "cluster"); c != nil {
		v = append(v, validatePatch(at, c.Operation, c.Value, c.JSONPatches, wholePatches)...)
		if c.Match != nil {
			v = append(v, noPatchMatch(at, c.Operation)...)
			v = append(v, oneOf(field(at, "match.origin"), c.Match.Origin, Origins...)...)
		}
	}
	if l, at := p.Listener, field(path, "listener"); l != nil {
		v = append(v, validatePatch(at, l.Operation, l.Value, l.JSONPatches, wholePatches)...)
		if l.Match != nil {
			v = append(v, noPatchMatch(at, l.Operation)...)
			v = append(v, oneOf(field(at, "match.origin"), l.Match.Origin, Origins...)...)
			v = append(v, validateMatchTags(field(at, "match.tags"), l.Match.Tags)...)
		}
	}
	v = append(v, p.NetworkFilter.validate(field(path, "networkFilter"))...)
	v = append(v, p.HTTPFilter.validate(field(path, "httpFilter"))...)
	if h, at := p.VirtualHost, field(path, "virtualHost"); h != nil {
		v = append(v, validatePatch(at, h.Operation, h.Value, h.JSONPatches, wholePatches)...)
		if h.Match != nil {
			v = append(v, oneOf(field(at, "match.origin"), h.Match.Origin, Origins...)...)
		}
	}
	return v
}

func (f *FilterPatch) validate(path string) (v Violations) {
	if f == nil {
		return nil
	}
	v = append(v, validatePatch(path, f.Operation, f.Value, f.JSONPatches, filterPatches)...)
	if f.Match != nil {
		v = append(v, oneOf(field(path, "match.origin"), f.Match.Origin, Origins...)...)
		v = append(v, validateMatchTags(field(path, "match.listenerTags"), f.Match.ListenerTags)...)
	}
	needs := []string{"AddBefore", "AddAfter", "Patch"}
	if slices.Contains(needs, f.Operation) && (f.Match == nil || f.Match.Name == "") {
		v.Add(field(path, "match.name"), "must be given for %s: it is the filter beside which, or at which, something changes", f.Operation)
	}
	return v
}

func noPatchMatch(path, operation string) (v Violations) {
	if operation == "Add" {
		v.Add(field(path, "match"), "must be left out for Add: nothing is there to match")
	}
	return v
}

// validatePatch wants a value for what adds, a value or jsonPatches for what
// patches, and neither for what removes.
func validatePatch(path, operation, value string, patches []JSONPatch, allowed []string) (v Violations) {
	v = append(v, listed(field(path, "operation"), operation, allowed)...)
	switch {
	case !slices.Contains(allowed, operation):
	case operation == "Remove":
		if value != "" {
			v.Add(field(path, "value"), "must be left out for Remove")
		}
	case operation == "Patch":
		v = append(v, exactlyOne(path, map[string]bool{"value": value != "", "jsonPatches": len(patches) > 0})...)
	default:
		v = append(v, notEmpty(field(path, "value"), value)...)
	}
	if operation != "Patch" && len(patches) > 0 {
		v.Add(field(path, "jsonPatches"), "must be left out unless the operation is Patch")
	}
	for i, p := range patches {
		at := field(path, "jsonPatches", i)
		v = append(v, listed(field(at, "op"), p.Op, []string{"add", "remove", "replace", "move", "copy"})...)
		if !strings.HasPrefix(p.Path, "/") {
			v.Add(field(at, "path"), `must begin with "/", as in /connectTimeout`)
		}
		moves := p.Op == "move" || p.Op == "copy"
		switch {
		case moves && !strings.HasPrefix(p.From, "/"):
			v.Add(field(at, "from"), `must be given for %s, and begin with "/"`, p.Op)
		case !moves && p.From != "":
			v.Add(field(at, "from"), "must be left out for %.20s", p.Op)
		}
		if sets := p.Op == "add" || p.Op == "replace"; sets && len(p.Value) == 0 {
			v.Add(field(at, "value"), "must be given for %s", p.Op)
		}
	}
	return v
}
