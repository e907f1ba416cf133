package envoy

import (
	"fmt"
	"strconv"
	"strings"
)

// A User is who Envoy runs as, where that is not who runs this program.
type User struct {
	Name     string `json:"name,omitzero"` // "" is told by its number
	UID, GID int
	// Capabilities are what it may do beyond that, by their numbers in
	// capabilities(7), as far as this program may do it itself.
	Capabilities []int `json:",omitempty"`
}

// String is what people call it; "" for nil.
func (u *User) String() string {
	switch {
	case u == nil:
		return ""
	case u.Name == "":
		return strconv.Itoa(u.UID)
	default:
		return u.Name
	}
}

// key is the same for equal users, whatever they are called; "" is no other
// user.
func (u *User) key() string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%s", u.UID, u.GID, strings.Trim(fmt.Sprint(u.Capabilities), "[]"))
}
