//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// A table prints figures as rows of Markdown, as soon as they are there.
type table struct {
	out      io.Writer
	endpoint time.Duration // median, to hold against the floors
	policy   time.Duration // also
}

func (t *table) head(s shape) {
	what := fmt.Sprintf("%d outbounds each", s.Outbounds)
	if s.Transparent {
		what = "each sees all"
	}
	t.row("figure", "%d proxies, %d services, %s", s.Proxies, s.Services, what)
	t.row("---", "---")
}

func (t *table) row(name, format string, args ...any) {
	fmt.Fprintf(t.out, "| %s | %s |\n", name, fmt.Sprintf(format, args...))
}

// round leaves three digits or so.
func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	default:
		return d.Round(time.Microsecond)
	}
}

func size(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

func median[T cmp.Ordered](in []T) T {
	sorted := slices.Sorted(slices.Values(in))
	return sorted[len(sorted)/2]
}
