package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// How many items a page has.
const (
	defaultPage = 100
	maxPage     = 1000
)

// maxOffset keeps sums of offset and size far from any overflow.
const maxOffset = 1 << 30

// list writes each resource of a page by write; only those that are wanted,
// nil wants all.
func (s *Server) list(k *mesh.Kind, write writing, wanted func(mesh.Resource) bool) func(call) (answer, error) {
	return func(c call) (answer, error) {
		in := c.PathValue("mesh")
		if err := s.checkMesh(c.Context(), in); err != nil {
			return answer{}, err
		}
		values := c.URL.Query()
		q, err := query(values)
		if err != nil {
			return answer{}, err
		}
		q.Kind, q.Mesh = k, in
		asked, err := filterOf(k, values)
		if err != nil {
			return answer{}, err
		}
		page, err := s.page(c.Context(), q, allOf(wanted, asked))
		if err != nil {
			return answer{}, err
		}
		docs, err := each(c.Context(), page.Items, write)
		if err != nil {
			return answer{}, err
		}
		next := ""
		if end := q.Offset + len(docs); len(docs) > 0 && end < page.Total {
			next = nextURL(c.Request, values, end)
		}
		return asJSON(http.StatusOK, api.NewPage(page.Total, docs, next))
	}
}

// filterOf is what a list's own parameters ask for; nil is everything.
func filterOf(k *mesh.Kind, values url.Values) (func(mesh.Resource) bool, error) {
	switch tags := values["tag"]; {
	case k == mesh.DataplaneKind:
		return dataplaneFilter(values)
	case k == mesh.ExternalServiceKind && len(tags) > 0:
		return func(r mesh.Resource) bool { return hasTags(r.Spec.(*mesh.ExternalService).Tags, tags) }, nil
	default:
		return nil, nil
	}
}

func allOf(a, b func(mesh.Resource) bool) func(mesh.Resource) bool {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	default:
		return func(r mesh.Resource) bool { return a(r) && b(r) }
	}
}

// page lists what q asks for. What the store cannot look for is picked here.
func (s *Server) page(ctx context.Context, q store.Query, wanted func(mesh.Resource) bool) (store.Page, error) {
	if wanted == nil {
		return s.Store.List(ctx, q)
	}
	return store.Pick(ctx, s.Store, q, wanted)
}

// query reads the parameters that all lists take.
func query(values url.Values) (store.Query, error) {
	q := store.Query{Name: values.Get("name"), Size: defaultPage}
	var err error
	if text := values.Get("size"); values.Has("size") {
		if q.Size, err = strconv.Atoi(text); err != nil || q.Size < 1 {
			return q, wrong(errPageSize, "size", "must be a number from 1 to %d, is %.32q", maxPage, text)
		}
		if q.Size > maxPage {
			return q, wrong(errPageSize, "size", "invalid page size of %d. Maximum page size is %d", q.Size, maxPage)
		}
	}
	if text := values.Get("offset"); text != "" {
		if q.Offset, err = strconv.Atoi(text); err != nil || q.Offset < 0 || q.Offset > maxOffset {
			return q, wrong(errQuery, "offset", "must be a number from 0 on, is %.32q: take it from next of the page before", text)
		}
	}
	for key, all := range values {
		name, ok := strings.CutPrefix(key, "filter[")
		if !ok {
			continue
		}
		label, ok := strings.CutPrefix(strings.TrimSuffix(name, "]"), "labels.")
		if !ok || !strings.HasSuffix(name, "]") || label == "" {
			return q, wrong(errQuery, key, "lists can be filtered by labels only, as in filter[labels.team]=a")
		}
		if len(slices.Compact(all)) > 1 {
			return q, wrong(errQuery, key, "a label has one value only")
		}
		if q.Labels == nil {
			q.Labels = map[string]string{}
		}
		q.Labels[label] = all[0]
	}
	return q, nil
}

// dataplaneFilter reads the parameters tag and gateway; nil when there is
// none. A tag is key:value: the value is part of a tag's value, the key "*"
// any. All tags have to be on one inbound, or on the gateway.
func dataplaneFilter(values url.Values) (func(mesh.Resource) bool, error) {
	tags, gateway := values["tag"], values.Get("gateway")
	if !slices.Contains([]string{"", "true", "false", "builtin", "delegated"}, gateway) {
		return nil, wrong(errQuery, "gateway", "must be true, false, builtin or delegated, is %.32q", gateway)
	}
	if len(tags) == 0 && gateway == "" {
		return nil, nil
	}
	return func(r mesh.Resource) bool {
		dp, ok := r.Spec.(*mesh.Dataplane)
		return ok && isGateway(dp, gateway) && carries(dp, tags)
	}, nil
}

func isGateway(dp *mesh.Dataplane, what string) bool {
	g := dp.Networking.Gateway
	switch what {
	case "true":
		return g != nil
	case "false":
		return g == nil
	case "builtin":
		return g != nil && g.Type == mesh.Builtin
	case "delegated":
		return g != nil && g.Type != mesh.Builtin
	default:
		return true
	}
}

func carries(dp *mesh.Dataplane, tags []string) bool {
	all := func(has mesh.Tags) bool { return hasTags(has, tags) }
	if g := dp.Networking.Gateway; g != nil && all(g.Tags) {
		return true
	}
	return len(tags) == 0 || slices.ContainsFunc(dp.Networking.Inbound, func(in mesh.Inbound) bool { return all(in.Tags) })
}

func hasTags(has mesh.Tags, tags []string) bool {
	return !slices.ContainsFunc(tags, func(tag string) bool { return !hasTag(has, tag) })
}

func hasTag(has mesh.Tags, tag string) bool {
	key, value, _ := strings.Cut(tag, ":")
	for k, v := range has {
		if (key == mesh.Any || key == k) && strings.Contains(v, value) {
			return true
		}
	}
	return false
}

// nextURL is the request's own URL with another offset.
func nextURL(r *http.Request, values url.Values, offset int) string {
	values.Set("offset", strconv.Itoa(offset))
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: values.Encode()}
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil { // with the base path
		u.Path = asked.Path
	}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// wrong is an error of kind is about one query parameter.
func wrong(is error, field, reason string, args ...any) error {
	var v mesh.Violations
	v.Add(field, reason, args...)
	return fmt.Errorf("%w: %w", is, v)
}
