package admission

import (
	"fmt"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// outside tells the author of an ExternalService what is likely to be otherwise
// than he wants.
func outside(s *mesh.ExternalService) (warnings []string) {
	t := s.Networking.TLS
	if t == nil {
		return nil
	}
	if !t.Enabled {
		if t.CACert != nil || t.ClientCert != nil || t.ServerName != nil {
			warnings = append(warnings, "networking.tls.enabled is false: the service is called as the workload speaks, and the rest of networking.tls has no effect")
		}
		return warnings
	}
	if t.SkipHostnameVerification {
		warnings = append(warnings, "networking.tls.skipHostnameVerification: any server with a certificate of the authorities that are trusted is believed to be this one")
	}
	if k := t.ClientKey; k != nil {
		if _, written := k.Written(); written {
			warnings = append(warnings, fmt.Sprintf("networking.tls.clientKey stands in the resource: whoever may read an %s reads the key; put it into a Secret and name that", mesh.ExternalServiceKind.Name))
		}
	}
	return warnings
}
