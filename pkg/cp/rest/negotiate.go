package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
)

const (
	typeJSON = "application/json"
	typeYAML = "application/yaml"
)

// negotiated is an answer in the form that the client likes best: documents
// are JSON, unless it asks for YAML. Who likes neither gets JSON, as with Kuma.
func negotiated(r *http.Request, a answer) answer {
	if a.packed || a.contentType != typeJSON || !likesYAML(r.Header.Values("Accept")) {
		return a
	}
	text, err := api.ToYAML(a.body)
	if err != nil {
		return a // it is good JSON all the same
	}
	a.contentType, a.body = typeYAML, text
	return a
}

// likesYAML tells whether YAML comes before JSON, or is named alone.
func likesYAML(accept []string) bool {
	best := map[string]float64{}
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			t, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			q := 1.0
			if text, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil {
					continue
				}
			}
			switch t {
			case "application/x-yaml", "text/yaml":
				t = typeYAML
			case "*/*", "application/*":
				t = typeJSON
			}
			best[t] = max(best[t], q)
		}
	}
	return best[typeYAML] > best[typeJSON]
}
