package mesh

import "path/filepath"

// A DataSource says where bytes are: exactly one of its fields is set.
type DataSource struct {
	Secret       string `json:"secret,omitempty"` // the name of a Secret in the mesh
	File         string `json:"file,omitempty"`   // a path on the control plane's machine
	Inline       []byte `json:"inline,omitempty"` // base64 in documents
	InlineString string `json:"inlineString,omitempty"`
}

func (d *DataSource) validate(path string) (v Violations) {
	if d == nil {
		return nil
	}
	set := 0
	for _, is := range []bool{d.Secret != "", d.File != "", len(d.Inline) > 0, d.InlineString != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		v.Add(path, "must have exactly one of secret, file, inline and inlineString, has %d", set)
	}
	switch {
	case d.Secret == "":
	case !namePattern.MatchString(d.Secret):
		v.Add(field(path, "secret"), nameRule)
	case OwnSecret(d.Secret):
		v.Add(field(path, "secret"), "%q is a name of the control plane's own secrets, which it passes on to nobody; give yours another name", d.Secret)
	}
	if d.File != "" && !filepath.IsAbs(d.File) {
		v.Add(field(path, "file"), "%q must be an absolute path on the control plane's machine", d.File)
	}
	return v
}

// Written tells whether the bytes stand in the resource itself, and returns
// them.
func (d *DataSource) Written() ([]byte, bool) {
	switch {
	case len(d.Inline) > 0:
		return d.Inline, true
	case d.InlineString != "":
		return []byte(d.InlineString), true
	}
	return nil, false
}
