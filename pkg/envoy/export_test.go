package envoy

import "time"

// ProvenAfter has an Envoy of that configuration be known to work after d.
func (c *Config) ProvenAfter(d time.Duration) { c.proof = d }
