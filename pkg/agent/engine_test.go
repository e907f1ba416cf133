package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// lacks is an engine whose Probe says so.
type lacks struct {
	redirect.Redirector
	err error
}

func (l lacks) Probe(context.Context, redirect.Rules) error { return l.err }

func TestChoose(t *testing.T) {
	without := func(feature string) error {
		return fmt.Errorf("%w: the kernel has no %s", redirect.ErrNotSupported, feature)
	}
	can := func(name string, err error) engine {
		return engine{name: name, make: func(*Config) redirect.Redirector { return lacks{err: err} }}
	}
	asked := can("c", nil)
	asked.asked = true
	for _, c := range []struct {
		name   string
		of     []engine
		want   string
		engine string
		says   []string // why, or why not
		is     error
	}{
		{"the first", []engine{can("a", nil), can("b", nil)}, engineAuto, "a", []string{"auto: this kernel has what it takes"}, nil},
		{"the second", []engine{can("a", without("x")), can("b", nil)}, engineAuto, "b", []string{"auto", "a: ", "the kernel has no x"}, nil},
		{"none", []engine{can("a", without("x")), can("b", without("y")), asked}, engineAuto, "", []string{"a: ", "no x", "b: ", "no y"}, redirect.ErrNotSupported},
		{"not by itself", []engine{asked, can("b", nil)}, engineAuto, "b", nil, nil},
		{"as configured", []engine{can("a", nil), can("b", nil)}, "b", "b", []string{"as configured"}, nil},
		{"never another", []engine{can("a", nil), can("b", without("y"))}, "b", "b", []string{"as configured"}, nil},
		{"rights", []engine{can("a", redirect.ErrNotPermitted), can("b", nil)}, engineAuto, "", nil, redirect.ErrNotPermitted},
		{"unknown", []engine{can("a", nil)}, "ipchains", "", []string{`redirectEngine: "ipchains" is none of auto, `}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := (&Config{RedirectEngine: c.want}).choose(t.Context(), redirect.Rules{}, c.of)
			if got.Engine != c.engine || (c.engine == "") != (err != nil) || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("chose %s, %v, want %q", got, err, c.engine)
			}
			for _, text := range c.says {
				if said := fmt.Sprint(got.Why, err); !strings.Contains(said, text) {
					t.Errorf("it says %q, want %q in it", said, text)
				}
			}
			if c.name == "never another" && !errors.Is(got.probe(t.Context(), redirect.Rules{}), redirect.ErrNotSupported) {
				t.Error("what the kernel lacks is not told")
			}
		})
	}
}
