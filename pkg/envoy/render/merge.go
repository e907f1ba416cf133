package render

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// merge writes what is set in from into to. Lists grow, maps gain entries, and
// messages are merged field by field, those that are packed too where they are
// of one type. Values that happen to be messages (durations, wrappers) are
// replaced: a part of a duration is no duration.
func merge(to, from proto.Message) {
	if to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() {
		return
	}
	// What is merged becomes a part of to, and may be merged into others too.
	mergeFields(to.ProtoReflect(), proto.Clone(from).ProtoReflect())
}

func mergeFields(to, from protoreflect.Message) {
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList():
			list := to.Mutable(f).List()
			for i := range v.List().Len() {
				list.Append(v.List().Get(i))
			}
		case f.IsMap():
			entries := to.Mutable(f).Map()
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				entries.Set(k, e)
				return true
			})
		case f.Message() == nil || !to.Has(f) || isValue(f.Message()):
			to.Set(f, v)
		case f.Message().FullName() == "google.protobuf.Any":
			mergePacked(to, f, v)
		default:
			mergeFields(to.Mutable(f).Message(), v.Message())
		}
		return true
	})
}

// isValue tells the well-known types that stand for one value.
func isValue(d protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(d.FullName()), "google.protobuf.") && d.FullName() != "google.protobuf.Any"
}

func mergePacked(to protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	was, ok := to.Get(f).Message().Interface().(*anypb.Any)
	with, ok2 := v.Message().Interface().(*anypb.Any)
	if !ok || !ok2 || was.GetTypeUrl() != with.GetTypeUrl() {
		to.Set(f, v)
		return
	}
	a, err := was.UnmarshalNew()
	b, err2 := with.UnmarshalNew()
	if err != nil || err2 != nil {
		to.Set(f, v)
		return
	}
	merge(a, b)
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, a, proto.MarshalOptions{Deterministic: true}); err != nil {
		to.Set(f, v)
		return
	}
	to.Set(f, protoreflect.ValueOfMessage(packed.ProtoReflect()))
}
