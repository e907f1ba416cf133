package mesh

// A MeshService is a service of one zone: which proxies serve it, at which
// ports.
type MeshService struct {
	Spec MeshServiceSpec `json:"spec"`
}

// A MeshServiceSpec is what others need to call it.
type MeshServiceSpec struct {
	State      string               `json:"state,omitempty"` // Available, Unavailable (default)
	Selector   *MeshServiceSelector `json:"selector,omitempty"`
	Ports      []MeshServicePort    `json:"ports,omitempty"`
	Identities []ServiceIdentity    `json:"identities,omitempty"`
}

// A MeshServiceSelector picks proxies by exactly one of its fields.
type MeshServiceSelector struct {
	DataplaneTags   Tags           `json:"dataplaneTags,omitempty"` // of one inbound
	DataplaneRef    *DataplaneRef  `json:"dataplaneRef,omitempty"`
	DataplaneLabels *LabelSelector `json:"dataplaneLabels,omitempty"`
}

// A DataplaneRef is one Dataplane.
type DataplaneRef struct {
	Name string `json:"name,omitempty"`
}

// A LabelSelector picks resources that carry all of its labels.
type LabelSelector struct {
	MatchLabels *Labels `json:"matchLabels,omitempty"` // an empty one matches all
}

// A MeshServicePort is one port that is called.
type MeshServicePort struct {
	Name        string      `json:"name,omitempty"` // default: the port
	Port        uint32      `json:"port,omitempty"`
	TargetPort  IntOrString `json:"targetPort,omitempty"`  // port or name of the inbound; default: the port
	AppProtocol string      `json:"appProtocol,omitempty"` // tcp (default), http, http2, grpc, tls, kafka
}

// A ServiceIdentity is how those who serve it show who they are.
type ServiceIdentity struct {
	Type  string `json:"type,omitempty"` // ServiceTag, SpiffeID
	Value string `json:"value,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshService) Validate() (v Violations) {
	c := &s.Spec
	v = append(v, oneOf("spec.state", c.State, "Available", "Unavailable")...)
	if sel, at := c.Selector, "spec.selector"; sel != nil {
		v = append(v, exactlyOne(at, map[string]bool{
			"dataplaneTags": len(sel.DataplaneTags) > 0, "dataplaneRef": sel.DataplaneRef != nil, "dataplaneLabels": sel.DataplaneLabels != nil,
		})...)
		v = append(v, validateMatchTags(field(at, "dataplaneTags"), sel.DataplaneTags)...)
		if r := sel.DataplaneRef; r != nil {
			v = append(v, notEmpty(field(at, "dataplaneRef.name"), r.Name)...)
		}
		v = append(v, sel.DataplaneLabels.validate(field(at, "dataplaneLabels"))...)
	}
	ports := servicePorts{names: map[string]bool{}, ports: map[uint32]bool{}}
	for i, p := range c.Ports {
		at := field("spec.ports", i)
		v = append(v, ports.validate(at, p.Name, p.Port, p.AppProtocol)...)
		if n, err := p.TargetPort.Float(); err == nil && (n < 1 || n > 65535) {
			v.Add(field(at, "targetPort"), "must be a port from 1 to 65535, or the name of an inbound")
		} else if err != nil && p.TargetPort != "" && !tagValue.MatchString(string(p.TargetPort)) {
			v.Add(field(at, "targetPort"), valueRule)
		}
	}
	for i, id := range c.Identities {
		at := field("spec.identities", i)
		v = append(v, listed(field(at, "type"), id.Type, []string{"ServiceTag", "SpiffeID"})...)
		v = append(v, notEmpty(field(at, "value"), id.Value)...)
		if id.Type == "SpiffeID" && id.Value != "" && !isSpiffeID(id.Value) {
			v.Add(field(at, "value"), `must begin with "spiffe://" and a trust domain`)
		}
	}
	return v
}

// servicePorts are the ports of one service that were seen.
type servicePorts struct {
	names map[string]bool
	ports map[uint32]bool
}

func (s servicePorts) validate(path, name string, port uint32, protocol string) (v Violations) {
	v = append(v, validatePort(field(path, "port"), port)...)
	if s.ports[port] {
		v.Add(field(path, "port"), "%d is the port of another one already", port)
	}
	if name != "" {
		if len(name) > MaxLabel || !namePattern.MatchString(name) {
			v.Add(field(path, "name"), nameRule)
		}
		if s.names[name] {
			v.Add(field(path, "name"), "%q is the name of another port already", name)
		}
	}
	s.names[name], s.ports[port] = true, true
	return append(v, oneOf(field(path, "appProtocol"), protocol, protocols...)...)
}

func (l *LabelSelector) validate(path string) (v Violations) {
	if l == nil || l.MatchLabels == nil {
		return nil
	}
	return validateMatchLabels(field(path, "matchLabels"), *l.MatchLabels)
}
