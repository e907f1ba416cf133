package mesh

// A MeshZoneAddress is where other zones reach this one.
type MeshZoneAddress struct {
	Spec MeshZoneAddressSpec `json:"spec"`
}

// A MeshZoneAddressSpec is one address.
type MeshZoneAddressSpec struct {
	Address string `json:"address,omitempty"` // IP or DNS name
	Port    uint32 `json:"port,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshZoneAddress) Validate() (v Violations) {
	v = append(v, validateHost("spec.address", s.Spec.Address)...)
	return append(v, validatePort("spec.port", s.Spec.Port)...)
}
