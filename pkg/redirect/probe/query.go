//go:build linux

package probe

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Who answered is told by what comes before the token.
const (
	agentSays = proxy.ProbeAnswer
	ownSays   = "weft-probe "
)

// token is one that nobody guesses.
func token() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// ask is a query for a token beneath the mesh's domain.
func ask(token, domain string) ([]byte, error) {
	name, err := dnsmessage.NewName(token + "." + proxy.ProbeLabel + "." + domain + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x5745, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// reply is what this process says where it is asked itself.
func reply(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	if len(m.Questions) != 1 {
		return nil, errors.New("not one question")
	}
	label, _, _ := strings.Cut(m.Questions[0].Name.String(), ".")
	m.Response = true
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.TXTResource{TXT: []string{ownSays + label}},
	}}
	return m.Pack()
}

// said is who answered a query for a token: agentSays, ownSays, or "" for
// anybody else.
func said(answer []byte, token string) string {
	var m dnsmessage.Message
	if m.Unpack(answer) != nil {
		return ""
	}
	for _, a := range m.Answers {
		txt, ok := a.Body.(*dnsmessage.TXTResource)
		if !ok {
			continue
		}
		for _, who := range []string{agentSays, ownSays} {
			if strings.Join(txt.TXT, "") == who+token {
				return who
			}
		}
	}
	return ""
}
