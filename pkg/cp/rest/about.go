package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// kumaVersion is the release whose interface this is. Clients compare it with
// their own.
const kumaVersion = "2.14.3"

var semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semVer is a version as SemVer, which clients of Kuma read it as: that of
// what was built between releases is a commit.
func semVer(version string) string {
	if v := strings.TrimPrefix(version, "v"); semantic.MatchString(v) {
		return v
	}
	return "0.0.0+" + notSemantic.ReplaceAllString(version, "-")
}

var notSemantic = regexp.MustCompile(`[^0-9A-Za-z.-]`)

func (s *Server) about(call) (answer, error) {
	info := s.Info
	info.Version = semVer(info.Version)
	info.Product, info.Tagline, info.BasedOnKuma = "Kuma", "Kuma", kumaVersion
	return asJSON(http.StatusOK, info)
}

func (s *Server) whoAmI(c call) (answer, error) {
	return asJSON(http.StatusOK, struct {
		Name   string   `json:"name"`
		Groups []string `json:"groups"`
	}{c.user.Name, c.user.Groups})
}

// noGUI says so, to whoever looks for one where Kuma has it.
func noGUI(call) (answer, error) { return answer{}, errNoGUI }

// A zoneStatus is how clients up to 2.11 ask for zones.
type zoneStatus struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
}

// zones tells which zones are connected. Others than its own do not join yet.
func (s *Server) zones(c call) (answer, error) {
	page, err := s.Store.List(c.Context(), store.Query{Kind: mesh.ZoneKind})
	if err != nil {
		return answer{}, err
	}
	all := []zoneStatus{}
	for _, r := range page.Items {
		z, ok := r.Spec.(*mesh.Zone)
		all = append(all, zoneStatus{r.Meta.Name, ok && r.Meta.Name == s.Zone && (z.Enabled == nil || *z.Enabled)})
	}
	return asJSON(http.StatusOK, all)
}

func (s *Server) config(call) (answer, error) { return asJSON(http.StatusOK, s.Config()) }

func (s *Server) hosts(call) (answer, error) {
	h, err := s.Hosts()
	if err != nil {
		return answer{}, err
	}
	if h.Addresses == nil {
		h.Addresses = []string{}
	}
	return asJSON(http.StatusOK, h)
}

// strictly refuses fields that it does not know: dropping a misspelt "tags"
// would make a token that allows everything.
func strictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the document")
	}
	return nil
}

// replicas answers with all control planes on this store, this one first.
func (s *Server) replicas(call) (answer, error) {
	all := any([]string{})
	if s.Replicas != nil {
		all = s.Replicas()
	}
	return asJSON(http.StatusOK, map[string]any{"items": all})
}

func (s *Server) stage(c call) (answer, error) {
	text, err := s.Stage(c.Context(), c.PathValue("mesh"), c.PathValue("name"), c.PathValue("stage"))
	if err != nil {
		return answer{}, err
	}
	return asText("text/yaml; charset=utf-8", text), nil
}

// body reads what was sent, JSON or YAML. A form, which any web page can make
// a browser send, is refused.
func body(c call) ([]byte, error) {
	if sent := c.Header.Get("Content-Type"); sent != "" {
		switch t, _, err := mime.ParseMediaType(sent); {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errMediaType, err)
		case t != "application/json" && t != "application/yaml" && t != "application/x-yaml" && t != "text/yaml":
			return nil, errMediaType
		}
	}
	// A small body that becomes a large one is nothing that we read.
	if how := c.Header.Get("Content-Encoding"); how != "" && !strings.EqualFold(how, "identity") {
		return nil, fmt.Errorf("%w, as it is: Content-Encoding %.32q is not read", errMediaType, how)
	}
	data, err := io.ReadAll(c.Body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fmt.Errorf("%w: %d bytes are allowed", api.ErrTooLarge, api.MaxDocument)
	}
	if err != nil {
		return nil, &api.SyntaxError{Text: "the body ended too early"}
	}
	return data, nil
}
