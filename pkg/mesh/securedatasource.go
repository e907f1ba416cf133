package mesh

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
