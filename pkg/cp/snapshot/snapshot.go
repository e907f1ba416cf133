// Package snapshot holds everything that the mesh consists of at one moment,
// and makes the next moment out of what changed.
//
// A State never changes: whoever reads one may keep it, and Next makes a new
// one that shares what stayed the same. Pointers are therefore answers: an
// index with the same pointer says the same. A View uses that to tell whether
// anything that a plan has read is different now.
//
// What is in Secrets and in files is not part of it, only whether they are there
// and at which version: nothing that is planned or printed reads them.
package snapshot

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A State is everything at one version of the store. It never changes, so it
// can be swapped atomically and read without locks.
type State struct {
	version   mesh.Version
	meshes    map[string]*Mesh // also those whose Mesh resource is not there
	names     []string         // of those whose Mesh resource is there
	hosts     map[string]netip.Addr
	hostNames []string
	files     map[string]string
	fileNames []string
}

// Empty returns the state of a store in which nothing was written yet.
func Empty() *State { return &State{} }

// Input is what happened since a state was made.
type Input struct {
	// Changes are in the order in which the store made them.
	Changes []store.Change
	// Hosts says what the DNS names in dataplanes' addresses stand for, all of
	// them. Nil means that nothing changed.
	Hosts map[string]netip.Addr
	// Files are hashes of what is in the files that resources name, by path, of
	// all that can be read. Nil means that nothing changed.
	Files map[string]string
}

// Version returns the version of the last change that the state knows of.
func (s *State) Version() mesh.Version { return s.version }

// Mesh returns one mesh, or nil where no resource of kind Mesh has that name.
func (s *State) Mesh(name string) *Mesh {
	m := s.meshes[name]
	if m == nil || m.spec == nil {
		return nil
	}
	return m
}

// Meshes returns the names of all meshes, sorted. The caller must not change
// the list.
func (s *State) Meshes() []string { return s.names }

// HostNames returns the DNS names that dataplanes use as addresses, sorted:
// what Input.Hosts should know. The caller must not change the list.
func (s *State) HostNames() []string { return s.hostNames }

// FileNames returns the paths of the files that resources name, sorted: what
// Input.Files should know. The caller must not change the list.
func (s *State) FileNames() []string { return s.fileNames }

// Next returns the state after in, and shares with prev what in does not
// touch. The resources in it must never be changed afterwards.
func Next(prev *State, in Input) *State {
	next := *prev
	edits := editsOf(in.Changes)
	for _, c := range in.Changes {
		next.version = max(next.version, c.Version)
	}
	if in.Hosts != nil && !maps.Equal(in.Hosts, prev.hosts) {
		next.hosts = maps.Clone(in.Hosts)
		for name, m := range prev.meshes {
			if moved := m.moved(next.hosts); len(moved) > 0 {
				editOf(edits, name).moved = moved
			}
		}
	}
	if in.Files != nil && !maps.Equal(in.Files, prev.files) {
		next.files = maps.Clone(in.Files)
		for name := range prev.meshes {
			editOf(edits, name).files = true
		}
	}
	if len(edits) == 0 {
		return &next
	}
	next.meshes = make(map[string]*Mesh, len(prev.meshes)+len(edits))
	maps.Copy(next.meshes, prev.meshes)
	for name, e := range edits {
		m := next.meshes[name]
		if m == nil {
			m = &Mesh{name: name, services: &ServiceSet{}}
		}
		if m = m.with(e, next.hosts, next.files); m.empty() {
			delete(next.meshes, name)
		} else {
			next.meshes[name] = m
		}
	}
	next.list()
	return &next
}

// list makes the lists that span meshes, unless they still hold.
func (s *State) list() {
	var names, hosts, files []string
	for name, m := range s.meshes {
		if m.spec != nil {
			names = append(names, name)
		}
		for _, h := range m.hosts {
			hosts = append(hosts, h.name)
		}
		for _, r := range m.Policies(mesh.ExternalServiceKind).All() {
			for _, src := range r.Spec.(*mesh.ExternalService).Sources() {
				if src.File != "" {
					files = append(files, src.File)
				}
			}
		}
	}
	slices.Sort(names)
	slices.Sort(hosts)
	s.names = keep(s.names, names)
	s.hostNames = keep(s.hostNames, slices.Compact(hosts))
	slices.Sort(files)
	s.fileNames = keep(s.fileNames, slices.Compact(files))
}

func keep(old, list []string) []string {
	if slices.Equal(old, list) {
		return old
	}
	return list
}
