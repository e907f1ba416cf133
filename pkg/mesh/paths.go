package mesh

import (
	"fmt"
	"strconv"
	"strings"
)

// field makes the path of a field: a string is a member, a number an index.
// field("networking.inbound", 0, "port") is networking.inbound[0].port.
func field(parts ...any) string {
	var b strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(p) + "]")
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(p)
		default:
			panic(fmt.Sprintf("mesh: path of %T", p))
		}
	}
	return b.String()
}

// keyed is the path of one entry of a map.
func keyed(path, key string) string { return path + "[" + strconv.Quote(key) + "]" }
