package agent

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// systemd finds the cgroups of the system's units: where one runs, its folder;
// where it does not, the folder that it will have. Nothing is asked of systemd
// itself, which early in the boot could not answer.
type systemd struct {
	files   string                 // "/", beneath which the folders of unit files are
	cgroups func() (string, error) // the root of the tree
}

func hostUnits() systemd { return systemd{files: "/", cgroups: cgroup.Root} }

// unitDirs are where unit files are, the first that has one of a name being in
// force. Source: systemd.unit(5).
var unitDirs = []string{
	"etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient", "run/systemd/generator.early",
	"etc/systemd/system", "etc/systemd/system.attached", "run/systemd/system", "run/systemd/system.attached",
	"run/systemd/generator", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system", "run/systemd/generator.late",
}

// unitName is what systemd takes, of the types that have processes.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]{1,240}\.(service|slice|scope|socket|mount|swap)$`)

// path is the cgroup of a unit, from the tree's root. Units of a user's own
// systemd are not looked for.
func (s systemd) path(name string) (string, error) {
	if !strings.Contains(name, ".") {
		name += ".service" // as systemctl has it
	}
	if !unitName.MatchString(name) || name == "-.slice" {
		return "", fmt.Errorf("%q is not the name of a unit that has processes, such as api.service or web.slice", name)
	}
	root, err := s.cgroups()
	if err != nil {
		return "", err
	}
	file, err := s.file(name)
	if err != nil {
		return "", err
	}
	if file.path != "" {
		name = file.name // an alias leads to its unit
	}
	found, err := running(root, name)
	if err != nil || found != "" {
		return found, err
	}
	if base, ok := strings.CutSuffix(name, ".slice"); ok {
		return slicePath(base), nil // by its name alone, it needs no file
	}
	if file.path == "" {
		return "", fmt.Errorf("this host has no unit %q, neither running nor as a file: systemctl list-unit-files lists them", name)
	}
	slice, err := s.slice(file)
	if err != nil {
		return "", err
	}
	return path.Join(slicePath(slice), name), nil
}

// running looks for a unit's folder. Units are in folders of slices only.
func running(root, name string) (found string, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it has just ended
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil || rel == "." {
			return err
		}
		if d.Name() == name {
			found = rel
			return fs.SkipAll
		}
		if !strings.HasSuffix(d.Name(), ".slice") {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("look for unit %s: %w", name, err)
	}
	return found, nil
}

// slicePath is the folder of a slice: "a-b" is in "a".
func slicePath(base string) string {
	if base == "" || base == "-" {
		return ""
	}
	var p, name string
	for part := range strings.SplitSeq(base, "-") {
		name = strings.TrimPrefix(name+"-"+part, "-")
		p = path.Join(p, name+".slice")
	}
	return p
}

// A unitFile is where a unit is written down.
type unitFile struct {
	name string // of the unit itself, where it was asked for by an alias
	path string // "": nowhere
}

// file follows aliases, which are links to another name.
func (s systemd) file(name string) (unitFile, error) {
	template, instance := templateOf(name)
	for _, try := range slices.Compact([]string{name, template}) {
		for _, dir := range unitDirs {
			p := filepath.Join(s.files, dir, try)
			target, err := filepath.EvalSymlinks(p)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return unitFile{}, fmt.Errorf("look for unit %s: %w", name, err)
			}
			if target == "/dev/null" {
				return unitFile{}, fmt.Errorf("unit %s is masked: systemctl unmask %[1]s, or leave it out", name)
			}
			own := filepath.Base(target)
			if before, after, ok := strings.Cut(own, "@."); ok {
				own = before + "@" + instance + "." + after
			}
			return unitFile{own, target}, nil
		}
	}
	return unitFile{name: name}, nil
}

// templateOf is "a@.service" for "a@b.service", and the name itself for what is
// no instance.
func templateOf(name string) (template, instance string) {
	before, rest, ok := strings.Cut(name, "@")
	if !ok {
		return name, ""
	}
	kind := filepath.Ext(rest)
	return before + "@" + kind, strings.TrimSuffix(rest, kind)
}

// slice is the one that a unit's file and drop-ins put it into, without the
// ending.
func (s systemd) slice(file unitFile) (string, error) {
	template, instance := templateOf(file.name)
	slice := "system"
	if instance != "" {
		prefix, _, _ := strings.Cut(file.name, "@")
		slice = "system-" + strings.ReplaceAll(prefix, "-", `\x2d`)
	}
	dropIns := make(map[string]string) // by name: one in an earlier folder hides those in later ones
	for _, dir := range unitDirs {
		for _, of := range slices.Compact([]string{file.name, template, strings.TrimPrefix(filepath.Ext(file.name), ".")}) {
			found, err := filepath.Glob(filepath.Join(s.files, dir, of+".d", "*.conf"))
			if err != nil {
				return "", fmt.Errorf("look for settings of unit %s: %w", file.name, err)
			}
			for _, f := range found {
				dropIns[filepath.Base(f)] = cmp.Or(dropIns[filepath.Base(f)], f)
			}
		}
	}
	files := []string{file.path}
	for _, name := range slices.Sorted(maps.Keys(dropIns)) {
		files = append(files, dropIns[name])
	}
	for _, f := range files {
		set, err := sliceIn(f)
		if err != nil {
			return "", fmt.Errorf("read the slice of unit %s: %w", file.name, err)
		}
		slice = cmp.Or(set, slice)
	}
	return slice, nil
}

// sliceIn is what a file says last of Slice=.
func sliceIn(file string) (slice string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(strings.ReplaceAll(lines.Text(), " ", ""), "Slice="); ok {
			slice = strings.TrimSuffix(value, ".slice")
		}
	}
	return slice, lines.Err()
}
