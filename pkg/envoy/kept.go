package envoy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// keptBinary is a further name, beside Keep, of the binary that last worked: by
// it that can be had after a boot, when its own name is another one's.
func (p *Process) keptBinary() string { return p.cfg.Keep + binarySuffix }

const (
	binarySuffix = ".binary"
	nextSuffix   = ".new" // of what is about to take a file's place
)

// KeptFiles are all that a Process may leave where Keep is so.
func KeptFiles(keep string) []string {
	return []string{keep, keep + nextSuffix, keep + binarySuffix, keep + binarySuffix + nextSuffix}
}

// keepBinary gives the binary that r runs that name. A file can have names in
// one file system alone; where it cannot have this one, a binary that was
// replaced before a boot has no one before it.
func (p *Process) keepBinary(r *running) {
	if p.cfg.Keep == "" {
		return
	}
	binary, err := filepath.EvalSymlinks(p.cfg.Binary)
	if err == nil && sameFile(binary, p.keptBinary()) {
		return
	}
	next := p.keptBinary() + nextSuffix
	if err == nil {
		_ = os.Remove(next)
		err = os.Link(binary, next)
	}
	if err == nil {
		var other bool
		if other, err = otherBinary(r.pid, next); other {
			err = errors.New("it was replaced meanwhile")
		}
	}
	if err == nil {
		err = os.Rename(next, p.keptBinary())
	}
	if err != nil {
		_ = os.Remove(next)
		p.log.Debug("envoy's binary is not kept beyond a boot", "error", err)
	}
}

// holdKept holds that binary, where it is another one than that of now.
func (p *Process) holdKept() {
	if p.cfg.Keep == "" || p.held != nil {
		return
	}
	if other, err := otherFile(p.keptBinary(), p.cfg.Binary); err != nil || !other {
		return // there is none, or none that would help
	}
	var err error
	if p.held, err = os.Open(p.keptBinary()); err != nil {
		p.held = nil
		p.log.Warn("envoy's former binary could not be had", "error", err)
	}
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// otherFile tells whether two files differ. One that was put there anew with the
// same content is the same.
func otherFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", a, err)
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", b, err)
	}
	if os.SameFile(x, y) {
		return false, nil
	}
	if x.Size() != y.Size() {
		return true, nil
	}
	return differ(a, b)
}

// differ compares what is in two files.
func differ(a, b string) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errN := io.ReadFull(f, x)
		m, errM := io.ReadFull(g, y)
		if n != m || !slices.Equal(x[:n], y[:m]) {
			return true, nil
		}
		if errN != nil || errM != nil {
			if errors.Is(errN, io.ErrUnexpectedEOF) {
				errN = io.EOF
			}
			if errors.Is(errN, io.EOF) {
				return false, nil
			}
			return false, errN
		}
	}
}
