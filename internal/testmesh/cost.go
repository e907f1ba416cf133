//go:build linux

package testmesh

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Cost is what a process takes of its host.
type Cost struct {
	// Resident is what it has in memory, in MB, and Anonymous the part of that
	// which no file holds: the rest is of the program's file. Source: VmRSS and
	// RssAnon in proc(5).
	Resident, Anonymous float64
	// CPU is how long it has run, to a hundredth of a second.
	CPU time.Duration
}

// CostOf reads what a process takes now.
func CostOf(t testing.TB, pid int) (c Cost) {
	t.Helper()
	for line := range strings.Lines(procFile(t, pid, "status")) {
		for key, to := range map[string]*float64{"VmRSS:": &c.Resident, "RssAnon:": &c.Anonymous} {
			if rest, ok := strings.CutPrefix(line, key); ok {
				*to = float64(integer(t, strings.Fields(rest)[0])) / 1024
			}
		}
	}
	_, rest, _ := strings.Cut(procFile(t, pid, "stat"), ") ")
	for _, word := range strings.Fields(rest)[11:13] { // utime and stime, a hundred a second
		c.CPU += time.Duration(integer(t, word)) * 10 * time.Millisecond
	}
	return c
}

func procFile(t testing.TB, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func integer(t testing.TB, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ApplyServices puts a Dataplane each of so many services, s0 and so on, which
// nobody serves.
func (m *Mesh) ApplyServices(t testing.TB, count int) {
	t.Helper()
	var all strings.Builder
	for i := range count {
		fmt.Fprintf(&all, "---\ntype: Dataplane\nmesh: default\nname: s%d-1\nnetworking: {address: 192.0.%d.%d, inbound: [{port: 8080, tags: {kuma.io/service: s%d, kuma.io/protocol: http}}]}\n", i, 2+i/250, i%250+1, i)
	}
	m.Apply(t, all.String())
}
