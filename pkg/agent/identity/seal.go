package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A file of the identity is PEM behind one line, the seal: magic, schema, the
// PEM's length in bytes, the SHA-256 of owner and PEM, owner. Programs that read
// PEM pass over that line, so that others of this host may be given the file.
const (
	sealMagic  = "weft-identity"
	sealSchema = "1"
	maxSeal    = 1024 // bytes, the line
)

// Blocks beside PRIVATE KEY and CERTIFICATE, which programs that want these
// pass over.
const (
	rootBlock  = "WEFT ROOT"  // a certificate that peers are verified with
	aboutBlock = "WEFT ABOUT" // JSON
)

// A document is what one file holds.
type document struct {
	key   []byte // PEM
	cert  []byte // PEM: leaf, then chain
	roots []byte // PEM, as CERTIFICATE
	about about
}

// about is what the control plane said beside the certificate.
type about struct {
	// FailClosed: the mesh wants no grace for certificates that have expired.
	FailClosed bool `json:"failClosed,omitempty"`
}

func (d document) encode(owner string) ([]byte, error) {
	body := append(bytes.Clone(d.key), d.cert...)
	for rest := d.roots; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		body = append(body, pem.EncodeToMemory(&pem.Block{Type: rootBlock, Bytes: b.Bytes})...)
	}
	text, err := json.Marshal(d.about)
	if err != nil {
		return nil, err
	}
	body = append(body, pem.EncodeToMemory(&pem.Block{Type: aboutBlock, Bytes: text})...)
	return fmt.Appendf(nil, "%s %s %d %s %s\n%s", sealMagic, sealSchema, len(body), sum(owner, body), owner, body), nil
}

func sum(owner string, body []byte) string {
	s := sha256.Sum256(append([]byte(owner+"\n"), body...))
	return hex.EncodeToString(s[:])
}

// decode reads what encode wrote. It takes nothing on trust.
func decode(data []byte) (owner string, d document, err error) {
	line, body, ok := bytes.Cut(data, []byte("\n"))
	words := strings.Split(string(line[:min(len(line), maxSeal)]), " ")
	if !ok || words[0] != sealMagic || len(words) != 5 {
		return "", d, errors.New("it is no file of a host's identity, or only the beginning of one")
	}
	owner = words[4]
	switch {
	case words[1] != sealSchema:
		return "", d, fmt.Errorf("it has schema %.20q, and this agent reads %s", words[1], sealSchema)
	case words[2] != strconv.Itoa(len(body)):
		return "", d, fmt.Errorf("it has %d bytes of %.20s", len(body), words[2])
	case words[3] != sum(owner, body):
		return "", d, errors.New("its content does not have its checksum")
	}
	for {
		var b *pem.Block
		if b, body = pem.Decode(body); b == nil {
			break
		}
		switch b.Type {
		case "PRIVATE KEY":
			d.key = pem.EncodeToMemory(b)
		case "CERTIFICATE":
			d.cert = append(d.cert, pem.EncodeToMemory(b)...)
		case rootBlock:
			d.roots = append(d.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Bytes})...)
		case aboutBlock:
			if err := json.Unmarshal(b.Bytes, &d.about); err != nil {
				return "", d, fmt.Errorf("what it says about itself: %w", err)
			}
		}
	}
	return owner, d, nil
}
