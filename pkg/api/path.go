package api

import (
	"regexp"
	"strconv"
)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// child is the path of a member.
func child(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(shorten(key)) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// entry is the path of one entry of a map.
func entry(path, key string) string { return path + "[" + strconv.Quote(shorten(key)) + "]" }

// index is the path of one item of a list.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
