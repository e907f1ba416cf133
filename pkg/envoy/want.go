package envoy

// want is what an Envoy is to be that may have so much.
func (p *Process) want(l Limits) (form, error) { return p.form(l) }
