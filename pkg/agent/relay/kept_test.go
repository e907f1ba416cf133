package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

func keptResource(i int, name, version string) *discoveryv3.Resource {
	return &discoveryv3.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: kinds[i].url, Value: []byte(name + version)}}
}

// sample is a set with everything that a set can have; what tells it from
// others is version.
func sample(t testing.TB, version string) *kept {
	addr := netip.MustParseAddr("240.0.0.1").AsSlice()
	body, err := anypb.New(&hostv1.NameTable{Names: []*hostv1.Name{{Name: "api.mesh", Addresses: [][]byte{addr}}}})
	if err != nil {
		t.Fatal(err)
	}
	var k kept
	k[clusters].resources = []*discoveryv3.Resource{keptResource(clusters, "a", version), keptResource(clusters, "b", version)}
	k[endpoints].resources = []*discoveryv3.Resource{keptResource(endpoints, "a", version)}
	k[endpoints].gone = []string{"b"}
	k[secrets].resources = []*discoveryv3.Resource{keptResource(secrets, "external:a:ca", version)}
	k[listeners].resources = []*discoveryv3.Resource{keptResource(listeners, "in", version)}
	k[routes].resources = []*discoveryv3.Resource{keptResource(routes, "r", version)}
	k[names].resources = []*discoveryv3.Resource{{Name: namesResource, Version: version, Resource: body}}
	return &k
}

func encoded(t testing.TB, k *kept) []byte {
	t.Helper()
	data, err := encodeKept(testID.String(), k)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKeptRoundTrip(t *testing.T) {
	data := encoded(t, sample(t, "1"))
	k, err := decodeKept(testID.String(), data)
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, k); !bytes.Equal(got, data) {
		t.Error("what was read is written otherwise")
	}
	table := resume(k)
	again := table.snapshot()
	if got := encoded(t, &again); !bytes.Equal(got, data) {
		t.Error("a table that began with the set is kept otherwise")
	}
	for i, want := range []string{"map[a:1 b:1]", "map[a:1]", "map[external:a:ca:1]", "map[in:1]", "map[r:1]", "map[names:1]"} {
		if got := fmt.Sprint(table[i].claims()); got != want {
			t.Errorf("claims of %s to the control plane: %s, want %s", kinds[i].name, got, want)
		}
	}
	table.connected()
	if req := table[endpoints].ask(); fmt.Sprint(req.GetResourceNamesSubscribe()) != "[a b]" {
		t.Errorf("ahead of Envoy the control plane is asked for %v", req)
	}
}

func TestKeptRefuses(t *testing.T) {
	change := func(f func(k *kept)) func() []byte {
		return func() []byte {
			k := sample(t, "1")
			f(k)
			return encoded(t, k)
		}
	}
	good := encoded(t, sample(t, "1"))
	tests := []struct {
		name string
		make func() []byte
		want string
	}{
		{"empty", func() []byte { return nil }, "not a kept configuration"},
		{"something else", func() []byte { return bytes.Repeat([]byte("x"), 1000) }, "not a kept configuration"},
		{"another schema", func() []byte {
			b := slices.Clone(good)
			binary.BigEndian.PutUint32(b[len(keptMagic):], 2)
			return b
		}, "schema 2"},
		{"longer", func() []byte { return append(slices.Clone(good), 0) }, "bytes of"},
		{"no listener", change(func(k *kept) { k[listeners].resources = nil }), "no listener"},
		{"two of one name", change(func(k *kept) {
			k[clusters].resources = append(k[clusters].resources, k[clusters].resources[0])
		}), `two clusters called "a"`},
		{"without a version", change(func(k *kept) { k[routes].resources[0].Version = "" }), "lacks"},
		{"without content", change(func(k *kept) { k[routes].resources[0].Resource = nil }), "lacks"},
		{"there and gone", change(func(k *kept) { k[routes].gone = []string{"r"} }), "cannot be gone"},
		{"bad names", change(func(k *kept) { k[names].resources[0].Resource.Value = []byte{0xff} }), "table of names"},
		{"other names", change(func(k *kept) { k[names].resources[0].Name = "more" }), "other names"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := decodeKept(testID.String(), tt.make()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := decodeKept("default.web-2", good); err == nil || !strings.Contains(err.Error(), `"default.web-1"`) {
		t.Errorf("another host's: error %v", err)
	}
	for at := 0; at < len(good); at++ {
		b := slices.Clone(good)
		b[at] ^= 1 << (at % 8)
		if _, err := decodeKept(testID.String(), b); err == nil {
			t.Errorf("a bit of byte %d was flipped, and nobody noticed", at)
		}
		if _, err := decodeKept(testID.String(), good[:at]); err == nil {
			t.Errorf("cut at %d, and nobody noticed", at)
		}
	}
}

// FuzzDecodeKept reads files and, since no chance finds a checksum, bodies.
// What is read must be fit to begin with and to be written again.
func FuzzDecodeKept(f *testing.F) {
	good := encoded(f, sample(f, "1"))
	f.Add(good)
	f.Add(good[keptHead:])
	f.Add(good[:len(good)/2])
	f.Add([]byte(keptMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func(string, []byte) (*kept, error){decodeKept, decodeBody} {
			k, err := read(testID.String(), data)
			if err != nil {
				continue
			}
			table := resume(k)
			table.attached()
			again := table.snapshot()
			if _, err := decodeKept(testID.String(), encoded(t, &again)); err != nil {
				t.Errorf("what was read cannot be read again: %v", err)
			}
		}
	})
}

func TestRetain(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	// One change a second, with an Envoy that has been there all the while.
	var gens []generation
	for s := range 100 {
		now := at(s)
		for i := range gens {
			if gens[i].until.IsZero() {
				gens[i].until = now
			}
		}
		gens = append(retain(gens, now, t0, 10*time.Second), generation{seq: uint64(s + 1), written: now})
		if len(gens) > 3 {
			t.Fatalf("after %d s there are %d generations", s, len(gens))
		}
		if age := now.Sub(gens[0].written); s > 25 && (!gens[0].proven || age > 21*time.Second) {
			t.Fatalf("after %d s the generation to fall back to is %s old, proven %t", s, age, gens[0].proven)
		}
	}
	// An Envoy that keeps dying proves nothing: what was proven stays.
	proven := gens[0].seq
	for s := range 100 {
		now := at(100 + s)
		for i := range gens {
			if gens[i].until.IsZero() {
				gens[i].until = now
			}
		}
		envoy := at(100 + s/5*5)
		gens = append(retain(gens, now, envoy, 10*time.Second), generation{seq: uint64(s + 101), written: now})
		if gens[0].seq != proven || len(gens) > 3 {
			t.Fatalf("after %d s of dying Envoys: %+v, want %d to be kept", s, gens, proven)
		}
	}
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func left(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestKeptOfBefore reads a file that was written before there were secrets.
func TestKeptOfBefore(t *testing.T) {
	k := sample(t, "1")
	k[secrets] = keptKind{}
	whole := encoded(t, k)
	body := whole[keptHead:]
	parts := []byte{}
	for i := -1; len(body) > 0; i++ {
		part, rest, ok := cutPart(body)
		if !ok {
			t.Fatal("what was written cannot be read")
		}
		if i != secrets {
			parts = appendPart(parts, part)
		}
		body = rest
	}
	old, err := decodeBody(testID.String(), parts)
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, old); !bytes.Equal(got, whole) {
		t.Error("it holds something else")
	}
}
