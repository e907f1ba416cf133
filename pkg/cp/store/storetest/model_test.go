package storetest

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestModel judges short histories, one operation after the other.
func TestModel(t *testing.T) {
	put := func(at int64, content string) event { return event{Op: "put", At: at, Content: content} }
	get, del := event{Op: "get"}, func(at int64) event { return event{Op: "delete", At: at} }
	ok := func(version int64, content string) event {
		return event{Outcome: "ok", Version: version, Content: content}
	}
	none, conflict, unknown := event{Outcome: "none"}, event{Outcome: "conflict"}, event{Outcome: "unknown"}
	for _, test := range []struct {
		name string
		want porcupine.CheckResult
		ops  []event // in and out by turns
	}{
		{"in order", porcupine.Ok, []event{put(0, "a"), ok(1, ""), get, ok(1, "a"), put(1, "b"), ok(2, ""), del(2), ok(0, ""), get, none}},
		{"lost", porcupine.Illegal, []event{put(0, "a"), ok(1, ""), get, none}},
		{"came back", porcupine.Illegal, []event{put(0, "a"), ok(1, ""), del(1), ok(0, ""), get, ok(1, "a")}},
		{"older than was acknowledged", porcupine.Illegal, []event{put(0, "a"), ok(1, ""), put(1, "b"), ok(2, ""), get, ok(1, "a")}},
		{"written over what is not there", porcupine.Illegal, []event{put(0, "a"), ok(1, ""), put(0, "b"), ok(2, "")}},
		{"conflict with nobody", porcupine.Illegal, []event{put(0, "a"), ok(1, ""), put(1, "b"), conflict}},
		{"unanswered and done", porcupine.Ok, []event{put(0, "a"), unknown, get, ok(1, "a")}},
		{"unanswered and not done", porcupine.Ok, []event{put(0, "a"), unknown, get, none}},
		{"unanswered and half", porcupine.Illegal, []event{put(0, "a"), unknown, get, ok(1, "b")}},
		{"done and undone", porcupine.Illegal, []event{put(0, "a"), unknown, get, ok(1, "a"), get, none}},
	} {
		var ops []porcupine.Operation
		for i := 0; i < len(test.ops); i += 2 {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: test.ops[i], Output: test.ops[i+1], Call: int64(i), Return: int64(i + 1)})
		}
		if got := porcupine.CheckOperationsTimeout(model(), ops, 0); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
