package api

import "strings"

// Nearest returns which of known somebody most likely meant by a word that is
// none of them; "" where none is near.
func Nearest(word string, known []string) string {
	best, distance := "", max(2, len(word)/3)+1
	if len(word) > 64 { // far from every name
		return ""
	}
	for _, k := range known {
		if len(k) > 64 {
			continue
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if distance >= len(best) {
		return ""
	}
	return best
}
