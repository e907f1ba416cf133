package envoytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// Told is what Envoy is told, under a name by which people know it.
type Told struct {
	Name   string
	Bundle *render.Bundle
	// Endpoints are of clusters that need not be in the bundle.
	Endpoints []*endpointv3.ClusterLoadAssignment
}

const (
	// maxRefused is how many faults are told one by one: each costs some runs
	// of Envoy, and where everything is refused one fault is all of them.
	maxRefused = 5
	// maxTogether bounds one run of Envoy in time and memory.
	maxTogether = 400
	// acceptedFor is how long an answer of Envoy is remembered after it was
	// last of use.
	acceptedFor = 30 * 24 * time.Hour
)

// Present tells whether there is an Envoy to ask.
func Present() bool {
	path, err := find()
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// Accept fails the test for each of those that the real Envoy refuses or
// complains of, with its name and Envoy's words. Routes that listeners fetch
// are judged in their place, sockets and secrets need not be there.
//
// All that is not known yet is asked in one run, as if it were the configuration
// of one proxy. What Envoy accepted is remembered in the user's cache folder, by
// a hash of content and version.
func Accept(t testing.TB, all ...Told) {
	t.Helper()
	j := &judge{t: t, dir: Dir(t), memory: openMemory(t)}
	var unknown []statics
	for _, told := range all {
		s, err := static(told)
		if err != nil {
			t.Errorf("%s: %v", told.Name, err)
			continue
		}
		if !j.memory.has(s) {
			unknown = append(unknown, s)
		}
	}
	for len(unknown) > 0 && j.refused < maxRefused {
		n := min(len(unknown), maxTogether)
		j.ask(unknown[:n])
		unknown = unknown[n:]
	}
}

type judge struct {
	t       testing.TB
	dir     string
	memory  memory
	refused int
}

// ask has Envoy judge all together, and where it refuses halves of them.
func (j *judge) ask(all []statics) {
	j.t.Helper()
	if j.refused >= maxRefused {
		return
	}
	words, err := j.run(all)
	switch {
	case err == nil:
		for _, s := range all {
			j.memory.add(s)
		}
	case len(all) > 1:
		j.ask(all[:len(all)/2])
		j.ask(all[len(all)/2:])
	default:
		j.refused++
		j.t.Errorf("Envoy refuses what is rendered for %s: %v\n%s", all[0].name, err, words)
		if j.refused == maxRefused {
			j.t.Errorf("there may be more; the first %d are told", maxRefused)
		}
	}
}

func (j *judge) run(all []statics) (words string, err error) {
	j.t.Helper()
	path := filepath.Join(j.dir, "bootstrap.json")
	if err := os.WriteFile(path, together(j.t, all), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return judgement(j.t, path)
}

// judgement is what Envoy says to a bootstrap: an error, in its own words,
// where it refuses or as much as warns.
func judgement(t testing.TB, path string) (words string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Binary(t),
		"--mode", "validate", "--config-path", path, "--log-level", "warning",
		"--disable-hot-restart", "--concurrency", "1")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil && (bytes.Contains(out, []byte("][warning][")) || bytes.Contains(out, []byte("][error]["))) {
		err = errors.New("it complains")
	}
	return string(out), err
}

// A memory is a folder with an empty file for everything that Envoy accepted.
type memory struct {
	t       testing.TB
	dir     string
	version []byte
}

func openMemory(t testing.TB) memory {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), Binary(t), "--version").Output()
	if err != nil {
		t.Fatalf("ask Envoy for its version: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	m := memory{t: t, dir: filepath.Join(cache, "weft", "accepted"), version: version}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.forget()
	return m
}

// forget removes what nobody has asked for in a long time.
func (m memory) forget() {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		if i, err := e.Info(); err == nil && time.Since(i.ModTime()) > acceptedFor {
			_ = os.Remove(filepath.Join(m.dir, e.Name()))
		}
	}
}

func (m memory) path(s statics) string {
	h := sha256.New()
	part := func(p []byte) { fmt.Fprintf(h, "%d:%s", len(p), p) }
	part(m.version)
	part(emptyBootstrap(m.t))
	for _, list := range [][]proto.Message{s.listeners, s.clusters} {
		fmt.Fprint(h, len(list))
		for _, r := range list {
			text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
			if err != nil {
				m.t.Fatal(err)
			}
			part(text)
		}
	}
	return filepath.Join(m.dir, hex.EncodeToString(h.Sum(nil)[:16]))
}

func (m memory) has(s statics) bool {
	now := time.Now()
	return os.Chtimes(m.path(s), now, now) == nil
}

func (m memory) add(s statics) {
	if err := os.WriteFile(m.path(s), nil, 0o600); err != nil {
		m.t.Errorf("remember what Envoy accepted: %v", err)
	}
}

// find says where Envoy should be.
func find() (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find Envoy: %w: set ENVOY, or run make envoy", err)
	}
	return filepath.Join(cache, "weft", "envoy-1.40.0", "envoy"), nil
}

// isClusterName tells fields that hold the name of a cluster.
func isClusterName(field string) bool {
	return field == "cluster" || field == "cluster_name" || strings.HasSuffix(field, "_cluster")
}
