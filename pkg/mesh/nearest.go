package mesh

import "strings"

// Nearest returns the word of known that somebody meant who wrote word, where
// one is near enough.
func Nearest(word string, known []string) (string, bool) {
	const longest = 64
	best, distance := "", max(2, len(word)/3)+1
	if len(word) > longest {
		return "", false
	}
	for _, k := range known {
		if len(k) > longest {
			continue
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best, best != "" && distance < len(best)
}

// editDistance counts the insertions, deletions, changes and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
