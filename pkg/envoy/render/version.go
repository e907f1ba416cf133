package render

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Version hashes everything that is in b, in its order: equal bundles have
// equal versions. Lengths are hashed too, so that no two bundles run into the
// same bytes. It fails where something cannot be encoded (text that is not
// UTF-8).
func (b *Bundle) Version() (string, error) {
	h := sha256.New()
	part := func(p []byte) {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write(p)
	}
	lists := [][]Resource{b.Listeners, b.Clusters, b.Routes}
	if len(b.Secrets) > 0 {
		lists = append(lists, b.Secrets)
	}
	for _, list := range lists {
		h.Write(binary.AppendUvarint(nil, uint64(len(list))))
		for _, r := range list {
			body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Message)
			if err != nil {
				return "", fmt.Errorf("marshal %q: %w", r.Name, err)
			}
			part([]byte(r.Name))
			part(body)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
