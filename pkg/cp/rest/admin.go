package rest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A view is one that Envoy has of itself.
type view struct {
	path     string
	needs    Permission
	question func(url.Values) (*hostv1.Question, error)
}

// views are what Envoy is asked. What changes anything is not among them.
var views = []view{
	{"xds", Inspect, func(q url.Values) (*hostv1.Question, error) {
		endpoints, err := flag(q, "include_eds", false)
		return &hostv1.Question{About: hostv1.Question_CONFIG_DUMP, Endpoints: endpoints, Json: true}, err
	}},
	{"stats", ViewStats, func(q url.Values) (*hostv1.Question, error) {
		used, err := flag(q, "usedonly", true)
		json, wrong := format(q)
		return &hostv1.Question{About: hostv1.Question_STATS, All: !used, Json: json}, errors.Join(err, wrong)
	}},
	{"clusters", ViewClusters, func(q url.Values) (*hostv1.Question, error) {
		json, err := format(q)
		return &hostv1.Question{About: hostv1.Question_CLUSTERS, Json: json}, err
	}},
}

func flag(q url.Values, name string, otherwise bool) (bool, error) {
	switch v := q.Get(name); {
	case v == "" && !q.Has(name):
		return otherwise, nil
	case v == "" || v == "true":
		return true, nil
	case v == "false":
		return false, nil
	default:
		return false, wrong(errQuery, name, "must be true or false, is %.32q", v)
	}
}

func format(q url.Values) (asJSON bool, err error) {
	switch v := q.Get("format"); v {
	case "", "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, wrong(errQuery, "format", "must be text or json, is %.32q", v)
	}
}

// viewRoutes tell what Envoy says of itself.
func (s *Server) viewRoutes(proxies []string) (all []route) {
	for _, item := range proxies {
		for _, v := range views {
			all = append(all, route{"GET " + item + "/" + v.path, v.needs, seeDataplanes, cannotAdmin, s.view(v)})
		}
	}
	return all
}

func (s *Server) view(v view) func(call) (answer, error) {
	return func(c call) (answer, error) {
		question, err := v.question(c.URL.Query())
		if err != nil {
			return answer{}, err
		}
		k := mesh.DataplaneKind
		if c.PathValue("mesh") == "" {
			k = kindAt(strings.Split(strings.Trim(c.URL.Path, "/"), "/")[0])
		}
		return s.ofStored(k, func(r mesh.Resource) (answer, error) {
			if r.Kind != mesh.DataplaneKind {
				return answer{}, fmt.Errorf("%w: proxies between zones do not join yet", ErrNoView)
			}
			packed, err := s.Ask(c.Context(), r.Meta.Mesh, r.Meta.Name, question)
			if err != nil {
				return answer{}, err
			}
			a := asText("text/plain; charset=utf-8", packed)
			if a.packed = true; question.GetJson() {
				a.contentType = typeJSON
			}
			return a, nil
		})(c)
	}
}

// sendPacked sends an answer that is compressed by gzip: as it is to who reads
// that, else piece by piece as it unpacks.
func sendPacked(w http.ResponseWriter, r *http.Request, a answer) error {
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(a.status)
		_, err := w.Write(a.body)
		return err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(a.body))
	if err != nil {
		return err
	}
	w.WriteHeader(a.status)
	_, err = io.Copy(w, unpacked)
	return err
}

// takesGzip tells whether a client names gzip and does not refuse it.
func takesGzip(accept []string) bool {
	return slices.ContainsFunc(accept, func(line string) bool {
		for part := range strings.SplitSeq(line, ",") {
			name, how, _ := strings.Cut(strings.TrimSpace(part), ";")
			if how = strings.ReplaceAll(how, " ", ""); strings.EqualFold(strings.TrimSpace(name), "gzip") && how != "q=0" {
				return true
			}
		}
		return false
	})
}
