// Package store says what the control plane expects of the place where it
// keeps resources. The places themselves live in the folders beside it, and
// storetest holds the suite that all of them pass.
package store

import (
	"context"
	"errors"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// What a Store's errors wrap.
var (
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else wrote in between; read again and retry.
	ErrConflict = errors.New("changed by somebody else")
	// ErrCompacted: the feed no longer reaches back to the version asked for;
	// list everything and watch from there.
	ErrCompacted = errors.New("history is gone")
	// ErrUnavailable: the store cannot be reached now. Nothing is wrong with
	// what was asked for. A write that fails so may have been made all the
	// same: who needs to know reads again.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrFull: there is no room for the write; nothing was written.
	ErrFull = errors.New("the store has no room")
	// ErrFenced: the writer has lost the leadership that it writes by.
	ErrFenced = errors.New("no longer the leader")
	// ErrNewer: a newer version of Weft has written the store.
	ErrNewer = errors.New("a newer version of Weft has written it")
)

// A Store keeps resources durably: what Put or Delete acknowledged is there
// after a crash. All methods may be called at once from many goroutines.
type Store interface {
	// Get fails with ErrNotFound.
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	// List returns a page, ordered by mesh and name.
	List(ctx context.Context, q Query) (Page, error)
	// Put writes r and returns it with its new version and times. It fails
	// with ErrConflict unless r carries the version it was read at; version 0
	// means that there must be none yet.
	Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error)
	// Delete fails with ErrNotFound, and with ErrConflict unless at is the
	// version that is stored; at 0 deletes whatever there is.
	Delete(ctx context.Context, k mesh.Key, at mesh.Version) error
	// Watch sends every change after from, in order and each once, until ctx
	// ends; then the channel closes. It fails with ErrCompacted where the feed
	// does not reach back that far. A channel that closes while ctx is alive
	// means the reader was lost: list again.
	Watch(ctx context.Context, from mesh.Version) (<-chan Change, error)
}

// A Keeper is a store that a control plane opens and closes.
type Keeper interface {
	Store
	// Close ends all watches and waits for the writes under way; every later
	// call fails. Closing again does nothing.
	Close() error
	// Failed is closed when the store cannot promise any more that what it
	// acknowledges is kept, as after an I/O error: it fails every write then,
	// and only a new start can tell what is there.
	Failed() <-chan struct{}
}

// A Schema is how far a store's tables are.
type Schema struct {
	Version int // of the store; 0: there are none yet
	Newest  int // that this version of Weft knows
}

// A Query picks resources of one kind, or of all kinds.
type Query struct {
	Kind   *mesh.Kind // nil: every kind
	Mesh   string     // "": every mesh
	Name   string     // part of the name; "": any
	Labels map[string]string
	Offset int
	Size   int // 0: all
}

// A Page is one part of a list.
type Page struct {
	Items []mesh.Resource
	Total int // how many there are without Offset and Size
	// At is the store's version when the page was read: watching from it
	// misses nothing.
	At mesh.Version
}

// A Change is one write.
type Change struct {
	Key     mesh.Key
	Version mesh.Version   // of the store, after this change
	Now     *mesh.Resource // nil: deleted
}
