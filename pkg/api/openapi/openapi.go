// Package openapi describes the REST interface as an OpenAPI 3.0 document: the
// paths are those that are served, the schemas those of the table of kinds.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// schemas are made from the kinds' types and comments: make generate.
//
//go:embed schemas.json
var schemas []byte

// A Route is one method of one path that is served.
type Route struct {
	Pattern string // of http.ServeMux: "GET /meshes/{name}"
	Does    string // "list the types of resources"
}

type object = map[string]any

// Document describes routes. version is that of the program.
func Document(version string, routes []Route) ([]byte, error) {
	all := object{}
	if err := json.Unmarshal(schemas, &all); err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	maps.Copy(all, common)
	paths := object{}
	known := byPath()
	for _, r := range routes {
		method, path, ok := strings.Cut(r.Pattern, " ")
		if !ok {
			return nil, fmt.Errorf("route %q has no method", r.Pattern)
		}
		path = strings.ReplaceAll(strings.TrimSuffix(path, "{$}"), "...}", "}")
		operations, _ := paths[path].(object)
		if operations == nil {
			operations = object{}
			paths[path] = operations
		}
		operations[strings.ToLower(method)] = operation(method, path, r.Does, known[path])
	}
	return json.MarshalIndent(object{
		"openapi": "3.0.3",
		"info": object{
			"title": "Weft control plane", "version": version,
			"description": "Resources of the mesh, and how they fare. Unknown fields of resources are refused; ?lenient=true leaves them out and tells which.",
		},
		"paths": paths,
		"components": object{
			"schemas":         all,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []any{object{"token": []any{}}},
	}, "", " ")
}

// A place is what of a kind is at a path.
type place struct {
	kind *mesh.Kind
	list bool
}

func byPath() map[string]place {
	all := map[string]place{}
	for _, k := range mesh.Kinds {
		for _, p := range append([]string{k.Path}, k.Aliases...) {
			items := "/" + p
			if k.Scope == mesh.InMesh {
				all[items] = place{k, true}
				items = "/meshes/{mesh}/" + p
			}
			all[items] = place{k, true}
			all[items+"/{name}"] = place{k, false}
		}
	}
	return all
}

var parameter = regexp.MustCompile(`\{(\w+)(?:\.\.\.)?\}`)

func operation(method, path, does string, at place) object {
	op := object{"summary": does, "responses": object{"default": answer("what went wrong", ref("Error"))}}
	params := []any{}
	for _, m := range parameter.FindAllStringSubmatch(path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	ok := object{"description": "what was asked for"}
	responses := op["responses"].(object)
	responses["200"] = ok
	switch {
	case at.kind == nil:
	case at.list && method == http.MethodGet:
		op["tags"] = []string{at.kind.Name}
		for _, p := range listParameters {
			params = append(params, p)
		}
		ok["content"] = asJSON(page(at.kind))
	case method == http.MethodGet:
		op["tags"] = []string{at.kind.Name}
		ok["content"] = asJSON(ref(at.kind.Name + "Item"))
	case method == http.MethodPut:
		op["tags"] = []string{at.kind.Name}
		params = append(params, query("dryRun", object{"type": "boolean"}, "tell what would change, and change nothing"),
			query("lenient", object{"type": "boolean"}, "leave out fields that nobody knows, and tell which"))
		body := object{"schema": ref(at.kind.Name + "Item")}
		op["requestBody"] = object{"required": true, "content": object{"application/json": body, "application/yaml": body}}
		ok["content"] = asJSON(ref("PutResult"))
		responses["201"] = answer("it is new", ref("PutResult"))
	case method == http.MethodDelete:
		op["tags"] = []string{at.kind.Name}
		params = append(params, query("dryRun", object{"type": "boolean"}, "tell what would change, and change nothing"))
		ok["content"] = asJSON(object{"type": "object"})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	return op
}

func page(k *mesh.Kind) object {
	return object{
		"type": "object", "required": []string{"total", "items", "next"},
		"properties": object{
			"total": object{"type": "integer", "description": "how many there are on all pages"},
			"items": object{"type": "array", "items": ref(k.Name + "Item")},
			"next":  object{"type": "string", "nullable": true, "description": "URL of the next page; null on the last"},
		},
	}
}

var (
	text           = object{"type": "string"}
	listParameters = []object{
		query("size", object{"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "how many on a page"),
		query("offset", text, "where the page begins, from next"),
		query("name", text, "only those whose name has this in it"),
		query("filter", object{"type": "object", "additionalProperties": text}, "filter[labels.KEY]=VALUE: only those with this label"),
	}
	// common are schemas of no kind.
	common = object{
		"PutResult": object{"type": "object", "properties": object{
			"warnings": object{"type": "array", "items": text, "description": "what its author should know"},
			"dryRun":   object{"type": "object", "description": "what would change"},
		}},
		"Error": object{
			"type": "object", "required": []string{"type", "status", "title", "detail"},
			"properties": object{
				"type": text, "status": object{"type": "integer"}, "title": text, "detail": text, "details": text, "instance": text,
				"invalid_parameters": object{"type": "array", "items": object{"type": "object", "properties": object{
					"field": text, "reason": text, "rule": text, "choices": object{"type": "array", "items": text},
				}}},
				"causes": object{"type": "array", "items": object{"type": "object", "properties": object{"field": text, "message": text}}},
			},
		},
	}
)

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func asJSON(schema object) object { return object{"application/json": object{"schema": schema}} }

func answer(what string, schema object) object {
	return object{"description": what, "content": asJSON(schema)}
}

func query(name string, schema object, what string) object {
	q := object{"name": name, "in": "query", "schema": schema, "description": what}
	if schema["type"] == "object" {
		q["style"], q["explode"] = "deepObject", true
	}
	return q
}
