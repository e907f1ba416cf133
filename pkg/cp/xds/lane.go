package xds

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// A lane is the resources of one type for one audience: a proxy or a mesh.
type lane struct {
	cache *cache.LinearCache

	mu    sync.Mutex
	bytes map[string][]byte // what the cache holds, by name
}

func newLane(typeURL string) *lane {
	return &lane{cache: cache.NewLinearCache(typeURL), bytes: map[string][]byte{}}
}

// An encoded resource is its deterministic bytes. Encoding happens before
// anything is changed, so that one bad resource is refused at the door and
// cannot stop the others of its cache.
type encoded struct {
	name  string
	bytes []byte
}

func encode(r render.Resource) (encoded, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Message)
	if err != nil {
		return encoded{}, fmt.Errorf("encode %q: %w", r.Name, err)
	}
	return encoded{r.Name, b}, nil
}

func encodeAll(rs []render.Resource) ([]encoded, error) {
	out := make([]encoded, 0, len(rs))
	for _, r := range rs {
		e, err := encode(r)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// message is what the cache keeps instead of the tree of objects: a message
// whose wire form is exactly those bytes. So a resource is encoded once, and
// its tree can be collected.
func (e encoded) message() types.Resource {
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(e.bytes)
	return m
}

// update puts and deletes. What is equal to what is there is no change, and
// moves nothing.
func (l *lane) update(put []encoded, gone []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := map[string]types.Resource{}
	for _, e := range put {
		if old, ok := l.bytes[e.name]; !ok || !bytes.Equal(old, e.bytes) {
			changed[e.name] = e.message()
			l.bytes[e.name] = e.bytes
		}
	}
	var deleted []string
	for _, name := range gone {
		if _, ok := l.bytes[name]; ok {
			deleted = append(deleted, name)
			delete(l.bytes, name)
		}
	}
	if len(changed) == 0 && len(deleted) == 0 {
		return nil
	}
	return l.cache.UpdateResources(changed, deleted)
}

// replace makes the lane hold exactly all.
func (l *lane) replace(all []encoded) error { return l.update(all, l.others(all)) }

// others lists what the lane holds beyond keep.
func (l *lane) others(keep []encoded) []string {
	kept := make(map[string]bool, len(keep))
	for _, e := range keep {
		kept[e.name] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for name := range l.bytes {
		if !kept[name] {
			out = append(out, name)
		}
	}
	return out
}

func (l *lane) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.bytes[name]
	return ok
}
