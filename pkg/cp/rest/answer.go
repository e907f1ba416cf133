package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// An answer is what goes back. Handlers return it whole, so nothing is half
// sent when something fails.
type answer struct {
	status      int
	contentType string
	body        []byte
	packed      bool   // body is compressed by gzip
	etag        string // of the resource that it is about; "": none
}

// asJSON writes v indented, and the characters of HTML as they are.
func asJSON(status int, v any) (answer, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return answer{}, fmt.Errorf("write the answer: %w", err)
	}
	return answer{status: status, contentType: typeJSON, body: b.Bytes()}, nil
}

func asText(contentType string, body []byte) answer {
	return answer{status: http.StatusOK, contentType: contentType, body: body}
}
