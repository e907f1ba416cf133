package mesh

import (
	"regexp"
	"strings"
)

var headerName = regexp.MustCompile("^[0-9A-Za-z!#$%&'*+.^_|~`-]+$")

func validateHeaderName(path, name string) (v Violations) {
	switch {
	case name == "":
		v.Add(path, "the name of a header must not be empty")
	case !headerName.MatchString(name):
		v.Add(path, `%q is not the name of a header: letters, digits and "-" make one`, name)
	}
	return v
}

func validateHeaderValue(path, value string) (v Violations) {
	if strings.ContainsAny(value, "\x00\r\n") {
		v.Add(path, "must be one line of text")
	}
	return v
}

// maxRegex bounds what an expression costs, here and in every proxy.
const maxRegex = 4096

// validateRegex accepts "" as none. Envoy's expressions are RE2, as Go's are.
func validateRegex(path, pattern string) (v Violations) {
	if len(pattern) > maxRegex {
		v.Add(path, "must have at most %d bytes, has %d", maxRegex, len(pattern))
		return v
	}
	if _, err := regexp.Compile(pattern); err != nil {
		v.Add(path, "is not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return v
}

// validateSubstitution checks \0 to \9, which stand for groups of pattern.
func validateSubstitution(path, pattern, s string) (v Violations) {
	if len(pattern) > maxRegex {
		return nil // told already
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil // told already
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		switch {
		case i == len(s) || s[i] != '\\' && (s[i] < '0' || s[i] > '9'):
			v.Add(path, `"\" must be followed by the number of a group, as in "\1", or by another "\"`)
		case s[i] != '\\' && int(s[i]-'0') > re.NumSubexp():
			v.Add(path, `\%c: the pattern has only %d groups`, s[i], re.NumSubexp())
		}
	}
	return v
}

// exactlyOne wants one of the named fields to be given.
func exactlyOne(path string, given map[string]bool) (v Violations) {
	n := 0
	for _, is := range given {
		if is {
			n++
		}
	}
	if n != 1 {
		v.Add(path, "must have exactly one of %s, has %d", strings.Join(sortedKeys(given), ", "), n)
	}
	return v
}
