package mesh

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

var expiration = regexp.MustCompile(`^(\d+)(y|w|d|h|m|s|ms)$`)

var expirationUnits = map[string]time.Duration{
	"y":  365 * 24 * time.Hour,
	"w":  7 * 24 * time.Hour,
	"d":  24 * time.Hour,
	"h":  time.Hour,
	"m":  time.Minute,
	"s":  time.Second,
	"ms": time.Millisecond,
}

// ParseExpiration reads the lifetime of a certificate: one number and one unit
// of y (365 days), w, d, h, m, s, ms.
func ParseExpiration(s string) (time.Duration, error) {
	m := expiration.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf(`%q is not a lifetime; write a whole number and one of y, w, d, h, m, s, ms, as in "7d"`, s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := expirationUnits[m[2]]
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf(`%q is longer than can be counted; "100y" is enough for anything`, s)
	}
	return time.Duration(n) * unit, nil
}

// validateExpiration accepts "" as the default.
func validateExpiration(path, s string) (v Violations) {
	if s == "" {
		return nil
	}
	switch d, err := ParseExpiration(s); {
	case err != nil:
		v.Add(path, "%s", err)
	case d == 0:
		v.Add(path, "must be longer than nothing")
	}
	return v
}

// validateDuration accepts "" as the default.
func validateDuration(path, s string) (v Violations) {
	if s == "" {
		return nil
	}
	switch d, err := time.ParseDuration(s); {
	case err != nil:
		v.Add(path, `%q is not a duration; write it as in "10s" or "1m30s"`, s)
	case d <= 0:
		v.Add(path, "must be longer than nothing")
	}
	return v
}

// Duration reads a valid Go duration; "" is 0.
func Duration(s string) time.Duration {
	d, _ := time.ParseDuration(s)
	return d
}

// validateSpan accepts "" as the default. Proxies count in milliseconds.
func validateSpan(path, s string) (v Violations) {
	v = validateDuration(path, s)
	if d := Duration(s); d > 0 && d < time.Millisecond {
		v.Add(path, "must be at least 1ms")
	}
	return v
}

// validateLimit is validateSpan for what "0s" turns off.
func validateLimit(path, s string) (v Violations) {
	if d, err := time.ParseDuration(s); err == nil && d == 0 {
		return nil
	}
	return validateSpan(path, s)
}
