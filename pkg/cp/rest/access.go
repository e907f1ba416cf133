package rest

import (
	"slices"
	"strings"
)

// Users and groups that mean something here.
const (
	AdminUser          = "mesh-system:admin"
	AdminGroup         = "mesh-system:admin"
	AuthenticatedGroup = "mesh-system:authenticated"
)

// A User is who sends a request.
type User struct {
	Name   string
	Groups []string
}

// String returns name/group,group, as it stands in messages.
func (u User) String() string { return u.Name + "/" + strings.Join(u.Groups, ",") }

func admin() User {
	return User{Name: AdminUser, Groups: []string{AdminGroup, AuthenticatedGroup}}
}

// A Permission is what a route needs.
type Permission string

// All permissions. The zero value is none.
const (
	ViewAbout      Permission = "view-about"
	ViewConfig     Permission = "view-config"
	ViewHosts      Permission = "view-hosts"
	ReadResources  Permission = "read-resources"
	WriteResources Permission = "write-resources"
	AdminResources Permission = "admin-resources" // kinds that only administrators see
	IssueTokens    Permission = "issue-tokens"
	Inspect        Permission = "inspect"
	Rotate         Permission = "rotate" // authorities and signing keys
)

var permissions = []Permission{
	ViewAbout, ViewConfig, ViewHosts, ReadResources, WriteResources, AdminResources, IssueTokens, Inspect, Rotate,
}

// granted says what members of a group may do. What is not here is denied.
var granted = map[string][]Permission{
	AdminGroup:         permissions,
	AuthenticatedGroup: {ViewAbout},
}

func (u User) may(p Permission) bool {
	return slices.ContainsFunc(u.Groups, func(group string) bool {
		return slices.Contains(granted[group], p)
	})
}
