package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

// No form in which a secret may come gets through, and what is none does.
func TestWithoutSecrets(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	body := strings.Split(text, "\n")[1]
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJtZXNoIjoiZGVmYXVsdCJ9.c2lnbmF0dXJlLW9mLWl0"
	for _, secret := range []struct{ in, text string }{
		{"a key: " + text, body},
		{fmt.Sprintf("{%q: %q}", "inline", strings.ReplaceAll(text, "\n", "\\n")), body},
		{`"inline_bytes": "` + base64.StdEncoding.EncodeToString([]byte(text)) + `"`, base64.StdEncoding.EncodeToString([]byte(text))[60:90]},
		{"joined by weft1.eyJhZGRyZXNzZXMiOlsiMTkyLjAuMi4x", "hZGRyZXNzZXMiOlsiMTkyLjAuMi4x"},
		{"token " + jwt + " was refused", "c2lnbmF0dXJl"},
		{"Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"},
		{"https://user:hunter2@example/", "hunter2"},
		{"password: hunter22", "hunter22"},
		{`{"token":"hunter2222"}`, "hunter2222"},
	} {
		if got := string(withoutSecrets([]byte(secret.in))); strings.Contains(got, secret.text) || !strings.Contains(got, "[left out]") {
			t.Errorf("of %q there is left %q", secret.in, got)
		}
	}
	for _, plain := range []string{"names=[identity_cert:secret:default]", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "tokenFile: /etc/weft/token", "http://127.0.0.1:15090/metrics"} {
		if got := string(withoutSecrets([]byte(plain))); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail Tail
	for i := range 20_000 {
		fmt.Fprintf(&tail, "line %d of a log that goes on and on\n", i)
	}
	got := tail.bytes()
	if len(got) > 2*maxTail || len(got) < maxTail/2 || !bytes.HasSuffix(got, []byte("line 19999 of a log that goes on and on\n")) || !bytes.HasPrefix(got, []byte("line ")) {
		t.Errorf("%d bytes, from %.40q", len(got), got)
	}
}
