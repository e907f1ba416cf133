package mesh

import (
	"path/filepath"
	"slices"
	"strings"
)

// A SecureDataSource says where secret bytes are: the one field that its type
// names.
type SecureDataSource struct {
	Type           string          `json:"type,omitempty"` // File, Secret, EnvVar, InsecureInline
	File           *FileSource     `json:"file,omitempty"`
	SecretRef      *SecretRef      `json:"secretRef,omitempty"`
	EnvVar         *EnvVarSource   `json:"envVar,omitempty"`
	InsecureInline *InsecureInline `json:"insecureInline,omitempty"`
}

// A FileSource is a file of the control plane's machine.
type FileSource struct {
	Path string `json:"path,omitempty"` // absolute, without ".."
}

// A SecretRef is a Secret of the mesh.
type SecretRef struct {
	Kind string `json:"kind,omitempty"` // Secret
	Name string `json:"name,omitempty"`
}

// An EnvVarSource is a variable of the control plane's environment.
type EnvVarSource struct {
	Name string `json:"name,omitempty"`
}

// InsecureInline stands in the resource, for all who may read that.
type InsecureInline struct {
	Value string `json:"value,omitempty"`
}

// needed checks a source that has to be there.
func (d *SecureDataSource) needed(path string) (v Violations) {
	if d == nil {
		v.Add(path, "must be given, as in {type: Secret, secretRef: {kind: Secret, name: ca-key}}")
		return v
	}
	v = append(v, oneByType(path, d.Type, []part{
		{"File", "file", d.File != nil, true},
		{"Secret", "secretRef", d.SecretRef != nil, true},
		{"EnvVar", "envVar", d.EnvVar != nil, true},
		{"InsecureInline", "insecureInline", d.InsecureInline != nil, true},
	})...)
	if f, at := d.File, field(path, "file.path"); f != nil {
		if !filepath.IsAbs(f.Path) || slices.Contains(strings.Split(f.Path, "/"), "..") {
			v.Add(at, `%.80q must be an absolute path on the control plane's machine, without ".."`, f.Path)
		}
	}
	if r, at := d.SecretRef, field(path, "secretRef"); r != nil {
		v = append(v, listed(field(at, "kind"), r.Kind, []string{"Secret"})...)
		if !namePattern.MatchString(r.Name) {
			v.Add(field(at, "name"), nameRule)
		}
	}
	if d.EnvVar != nil {
		v = append(v, notEmpty(field(path, "envVar.name"), d.EnvVar.Name)...)
	}
	if d.InsecureInline != nil {
		v = append(v, notEmpty(field(path, "insecureInline.value"), d.InsecureInline.Value)...)
	}
	return v
}
