package mesh

// A ZoneIngress is the proxy through which other zones reach the services of
// one.
type ZoneIngress struct {
	Zone       string                `json:"zone,omitempty"` // set by the control plane
	Networking ZoneIngressNetworking `json:"networking"`
	// AvailableServices are counted by the control plane.
	AvailableServices []AvailableService `json:"availableServices,omitempty"`
}

// ZoneIngressNetworking says where it is.
type ZoneIngressNetworking struct {
	Address           string          `json:"address,omitempty"` // IP or DNS name
	Port              uint32          `json:"port,omitempty"`
	AdvertisedAddress string          `json:"advertisedAddress,omitempty"` // what other zones dial; with advertisedPort
	AdvertisedPort    uint32          `json:"advertisedPort,omitempty"`
	Admin             *DataplaneAdmin `json:"admin,omitempty"`
}

// An AvailableService is how many instances of a service are there.
type AvailableService struct {
	Tags            Tags   `json:"tags,omitempty"`
	Instances       uint32 `json:"instances,omitempty"`
	Mesh            string `json:"mesh,omitempty"`
	ExternalService bool   `json:"externalService,omitempty"`
}

// A ZoneEgress is the proxy through which a zone calls what is outside of it.
type ZoneEgress struct {
	Zone       string               `json:"zone,omitempty"` // set by the control plane
	Networking ZoneEgressNetworking `json:"networking"`
}

// ZoneEgressNetworking says where it is.
type ZoneEgressNetworking struct {
	Address string          `json:"address,omitempty"` // IP or DNS name
	Port    uint32          `json:"port,omitempty"`
	Admin   *DataplaneAdmin `json:"admin,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *ZoneIngress) Validate() (v Violations) {
	n := &s.Networking
	v = append(v, validateZoneProxy(n.Address, n.Port, n.Admin)...)
	if (n.AdvertisedAddress == "") != (n.AdvertisedPort == 0) {
		v.Add("networking.advertisedAddress", "must be given together with advertisedPort, or both left out")
	}
	if n.AdvertisedAddress != "" {
		v = append(v, validateHost("networking.advertisedAddress", n.AdvertisedAddress)...)
	}
	v = append(v, validateOptionalPort("networking.advertisedPort", n.AdvertisedPort)...)
	for i, a := range s.AvailableServices {
		v = append(v, validateTags(field("availableServices", i, "tags"), a.Tags, true)...)
	}
	return v
}

// Validate tells everything that is wrong with it.
func (s *ZoneEgress) Validate() (v Violations) {
	n := &s.Networking
	return validateZoneProxy(n.Address, n.Port, n.Admin)
}

func validateZoneProxy(address string, port uint32, admin *DataplaneAdmin) (v Violations) {
	v = append(v, validateHost("networking.address", address)...)
	v = append(v, validatePort("networking.port", port)...)
	if admin != nil {
		v = append(v, validateOptionalPort("networking.admin.port", admin.Port)...)
		if admin.Port != 0 && admin.Port == port {
			v.Add("networking.admin.port", "must differ from networking.port, %d", port)
		}
	}
	return v
}
