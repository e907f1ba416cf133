package xds

import (
	"fmt"
	"testing"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// A refusal is told until the proxy takes something else in the place of what
// it refused, whatever it takes meanwhile.
func TestRefusalStands(t *testing.T) {
	named := func(names ...string) func() []string { return func() []string { return names } }
	var tr tracker
	n := 0
	say := func(r response, refused string) {
		n++
		r.typeURL, r.nonce, r.version = resource.ListenerType, fmt.Sprint(n), fmt.Sprint("v", n)
		tr.sent(r)
		tr.answered(r.typeURL, r.nonce, refused)
	}
	stands := func(want string) {
		t.Helper()
		got := "none"
		if r := tr.status().Types[0].Refused; r != nil {
			got = fmt.Sprintf("%v %s", r.Resources, r.Reason)
		}
		if got != want {
			t.Errorf("after response %d the refusal is %s, want %s", n, got, want)
		}
	}
	say(response{names: named("a", "b", "c")}, "")
	stands("none")
	say(response{names: named("a", "b")}, "a: bad; b: worse")
	stands("[a b] a: bad; b: worse")
	say(response{names: named("c")}, "")
	stands("[a b] a: bad; b: worse")
	say(response{names: named(), gone: []string{"b"}}, "")
	stands("[a] a: bad; b: worse")
	say(response{names: named("a")}, "")
	stands("none")
	say(response{names: named("a")}, "a: bad")
	say(response{names: named("b"), whole: true}, "")
	stands("none")
}
