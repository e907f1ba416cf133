package agent

import "google.golang.org/protobuf/types/known/structpb"

// metadata tells the control plane which programs the proxy consists of, where
// Kuma's agent tells it.
func (w *Workload) metadata() *structpb.Struct {
	w.mu.Lock()
	defer w.mu.Unlock()
	program := func(version string) *structpb.Value { return object("version", structpb.NewStringValue(version)) }
	versions := structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"kumaDp": program(w.version), "envoy": program(w.envoyVersion),
	}})
	return object("version", versions).GetStructValue()
}

func object(key string, v *structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{key: v}})
}
