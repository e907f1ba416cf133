package mesh

// A Workload is what several Dataplanes run, by their label kuma.io/workload.
// It says nothing but its name.
type Workload struct {
	Spec WorkloadSpec `json:"spec"`

	_ byte // what has no size has no address of its own
}

// A WorkloadSpec has no fields.
type WorkloadSpec struct{}

// Validate accepts it.
func (s *Workload) Validate() (v Violations) { return nil }
