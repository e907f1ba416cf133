package api

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A filler writes nodes into Go values and notes all that does not fit.
type filler struct {
	wrong mesh.Violations
	// lenient skips unknown fields: a client older than its server can still
	// show what it knows.
	lenient bool
	dropped mesh.Violations // those that were skipped
}

func (f *filler) add(path, reason string, args ...any) {
	if len(f.wrong) < maxViolations {
		f.wrong.Add(path, reason, args...)
	}
}

// want notes that n has not the shape that is needed.
func (f *filler) want(path, what string, n node) {
	f.add(path, "must be %s, is %s", what, n.describe())
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// fill writes n into v. A null leaves v as it is, and what is empty is as if
// it were not there, so that equal documents make equal values.
func (f *filler) fill(path string, n node, v reflect.Value) {
	if n.shape == null {
		return
	}
	if v.Type() == rawMessage {
		v.SetBytes(n.json())
		return
	}
	switch u := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		if err := u.UnmarshalJSON(n.json()); err != nil {
			f.add(path, "%s", err)
		}
		return
	case encoding.TextUnmarshaler:
		if n.shape != text {
			f.want(path, "text", n)
		} else if err := u.UnmarshalText([]byte(n.text)); err != nil {
			f.add(path, "%s", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(path, n, v.Elem())
	case reflect.Struct:
		f.fillStruct(path, n, v)
	case reflect.Map:
		f.fillMap(path, n, v)
	case reflect.Slice:
		f.fillSlice(path, n, v)
	default:
		f.fillScalar(path, n, v)
	}
}

func (f *filler) fillStruct(path string, n node, v reflect.Value) {
	if n.shape != object {
		f.want(path, "an object", n)
		return
	}
	known := fieldsOf(v.Type())
	given := map[int]bool{}
	for _, m := range n.members {
		if len(f.wrong) == maxViolations {
			return
		}
		i, ok := known.byName[m.key]
		switch at := child(path, m.key); {
		case !ok && f.lenient:
			if len(f.dropped) < maxViolations {
				f.dropped.Add(at, "%s", unknownField(m.key, known.names))
			}
		case !ok:
			f.add(at, "%s", unknownField(m.key, known.names))
		case given[i]:
			f.add(at, "is the same field as %q; keep one", known.names[i])
		default:
			given[i] = true
			f.fill(child(path, known.names[i]), m.value, v.Field(i))
		}
	}
}

func (f *filler) fillMap(path string, n node, v reflect.Value) {
	if n.shape != object {
		f.want(path, "an object", n)
		return
	}
	if len(n.members) == 0 {
		return
	}
	if len(n.members) > maxItems {
		f.add(path, "has %d entries, %d are allowed", len(n.members), maxItems)
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.members)))
	for _, m := range n.members {
		e := reflect.New(v.Type().Elem()).Elem()
		f.fill(entry(path, m.key), m.value, e)
		v.SetMapIndex(reflect.ValueOf(m.key).Convert(v.Type().Key()), e)
	}
}

func (f *filler) fillSlice(path string, n node, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		f.fillBytes(path, n, v)
		return
	}
	if n.shape != list {
		f.want(path, "a list", n)
		return
	}
	if len(n.items) == 0 {
		return
	}
	if len(n.items) > maxItems {
		f.add(path, "has %d items, %d are allowed", len(n.items), maxItems)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		if item.shape == null {
			f.add(index(path, i), "must not be empty")
			continue
		}
		f.fill(index(path, i), item, v.Index(i))
	}
}

// fillBytes takes either alphabet of base64, padded or not. What it is given
// may be secret, so no message repeats it.
func (f *filler) fillBytes(path string, n node, v reflect.Value) {
	if n.shape != text {
		f.add(path, "must be base64 text, is %s", n.shape)
		return
	}
	s := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "").Replace(n.text), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		f.add(path, "is not base64; encode it with `base64 -w0`")
		return
	}
	if len(b) > 0 {
		v.SetBytes(b)
	}
}

func (f *filler) fillScalar(path string, n node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		switch n.shape {
		case text:
			v.SetString(n.text)
		case number, boolean:
			f.add(path, "must be text, is %s; put it in quotes", n.describe())
		default:
			f.want(path, "text", n)
		}
	case reflect.Bool:
		if n.shape != boolean {
			f.want(path, "true or false", n)
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Uint32, reflect.Uint64, reflect.Int32, reflect.Int64, reflect.Int:
		f.fillInteger(path, n, v)
	case reflect.Float64:
		x, err := strconv.ParseFloat(n.text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || (n.shape != number && n.shape != text) {
			f.want(path, "a number", n)
			return
		}
		v.SetFloat(x)
	default:
		panic("api: no wire form for " + v.Type().String())
	}
}

// fillInteger takes a number, or its digits as text as protobuf writes 64-bit
// ones. 8080.0 is an integer too.
func (f *filler) fillInteger(path string, n node, v reflect.Value) {
	if n.shape != number && n.shape != text {
		f.want(path, "a whole number", n)
		return
	}
	// The bound keeps a million digits from being read, and big floats small.
	const longest = 32
	if len(n.text) > longest {
		f.want(path, "a whole number", n)
		return
	}
	x, ok := new(big.Float).SetString(n.text)
	if !ok || x.IsInf() || !x.IsInt() {
		f.want(path, "a whole number", n)
		return
	}
	if v.CanUint() {
		if u, acc := x.Uint64(); acc == big.Exact && !v.OverflowUint(u) {
			v.SetUint(u)
			return
		}
	} else if i, acc := x.Int64(); acc == big.Exact && !v.OverflowInt(i) {
		v.SetInt(i)
		return
	}
	f.add(path, "%s is out of range", n.text)
}
