package mesh

// A Secret is bytes that only administrators and the control plane may read.
type Secret struct {
	Data []byte `json:"data,omitempty"` // base64 in documents
}

// Validate accepts any bytes, none included.
func (s *Secret) Validate() (v Violations) { return nil }
