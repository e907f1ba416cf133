package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// A kept set's file is a head and a body. The head: magic, schema as 4 bytes,
// the body's length as 8, its SHA-256; integers are big endian. The body: the
// node id, then a DeltaDiscoveryResponse a kind, each after its length as a
// varint. Equal sets have equal bytes.
const (
	keptMagic  = "weft xds"
	keptSchema = 1
	keptHead   = len(keptMagic) + 4 + 8 + sha256.Size
)

// maxKept bounds a file in bytes: a hundred times what a mesh of a thousand
// services takes. A larger set is not kept.
const maxKept = 128 << 20

func encodeKept(node string, k *kept) ([]byte, error) {
	body := appendPart(nil, []byte(node))
	for i, kk := range k {
		part, err := proto.MarshalOptions{Deterministic: true}.Marshal(&discoveryv3.DeltaDiscoveryResponse{
			TypeUrl: kinds[i].url, Resources: kk.resources, RemovedResources: kk.gone, ControlPlane: byState(kk.state),
		})
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", kinds[i].name, err)
		}
		body = appendPart(body, part)
	}
	if keptHead+len(body) > maxKept {
		return nil, fmt.Errorf("the configuration is larger than %d bytes", maxKept)
	}
	sum := sha256.Sum256(body)
	out := make([]byte, 0, keptHead+len(body))
	out = append(out, keptMagic...)
	out = binary.BigEndian.AppendUint32(out, keptSchema)
	out = binary.BigEndian.AppendUint64(out, uint64(len(body)))
	out = append(out, sum[:]...)
	return append(out, body...), nil
}

func appendPart(to, part []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}

// decodeKept reads what encodeKept wrote for the same node. It takes nothing
// on trust.
func decodeKept(node string, data []byte) (*kept, error) {
	if len(data) < keptHead || string(data[:len(keptMagic)]) != keptMagic {
		return nil, errors.New("it is not a kept configuration, or only the beginning of one")
	}
	head, body := data[len(keptMagic):keptHead], data[keptHead:]
	if v := binary.BigEndian.Uint32(head); v != keptSchema {
		return nil, fmt.Errorf("it has schema %d, and this agent reads %d", v, keptSchema)
	}
	if n := binary.BigEndian.Uint64(head[4:]); n != uint64(len(body)) {
		return nil, fmt.Errorf("it has %d bytes of %d", len(body), n)
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], head[12:]) {
		return nil, errors.New("its content does not have its checksum")
	}
	return decodeBody(node, body)
}

func decodeBody(node string, body []byte) (*kept, error) {
	whose, body, ok := cutPart(body)
	if !ok {
		return nil, errors.New("it ends early")
	}
	if string(whose) != node {
		return nil, fmt.Errorf("it is of proxy %.100q and not of %q", whose, node)
	}
	var k kept
	for i := range k {
		part, rest, ok := cutPart(body)
		if !ok {
			return nil, errors.New("it ends early")
		}
		var resp discoveryv3.DeltaDiscoveryResponse
		if err := proto.Unmarshal(part, &resp); err != nil {
			return nil, fmt.Errorf("read %s: %w", kinds[i].name, err)
		}
		if resp.GetTypeUrl() != kinds[i].url && kinds[i].later {
			continue
		}
		body = rest
		if resp.GetTypeUrl() != kinds[i].url {
			return nil, fmt.Errorf("it has %.100q where %s should be", resp.GetTypeUrl(), kinds[i].name)
		}
		k[i] = keptKind{resources: resp.GetResources(), gone: resp.GetRemovedResources(), state: stateOf(&resp)}
	}
	if len(body) > 0 {
		return nil, fmt.Errorf("%d bytes follow its end", len(body))
	}
	return &k, k.check()
}

func cutPart(from []byte) (part, rest []byte, ok bool) {
	n, width := binary.Uvarint(from)
	if width <= 0 || n > uint64(len(from)-width) {
		return nil, nil, false
	}
	return from[width : width+int(n)], from[width+int(n):], true
}
