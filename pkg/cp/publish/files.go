package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Files that resources name are read again after reread, as long as there are
// any.
const reread = 10 * time.Second

// maxFile bounds, in bytes, what is read of one.
const maxFile = 1 << 20

// reading reads the files that the state asks for.
func (p *Publisher) reading(ctx context.Context) error {
	var names []string
	known := map[string]string{}
	failing := map[string]string{}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case wanted := <-p.fileNames:
			if slices.Equal(wanted, names) {
				continue
			}
			names = wanted
		case <-again:
		}
		again = nil
		if len(names) > 0 {
			again = time.After(reread)
		}
		files, hashes := p.readAll(names, failing)
		if maps.Equal(hashes, known) {
			continue
		}
		known = hashes
		p.vault.keepFiles(files)
		offer(p.files, hashes)
	}
}

// readAll reads what can be read; both ends of a failure are logged.
func (p *Publisher) readAll(names []string, failing map[string]string) (files map[string]file, hashes map[string]string) {
	files, hashes = map[string]file{}, map[string]string{}
	for _, name := range names {
		b, err := p.readFile(name)
		if err != nil {
			if failing[name] != err.Error() {
				p.log.Warn("file that a resource names could not be read", "file", name, "error", err)
			}
			failing[name] = err.Error()
			continue
		}
		if failing[name] != "" {
			p.log.Info("file that a resource names was read", "file", name)
			delete(failing, name)
		}
		sum := sha256.Sum256(b)
		hashes[name] = hex.EncodeToString(sum[:8])
		files[name] = file{hashes[name], b}
	}
	maps.DeleteFunc(failing, func(name, _ string) bool { return !slices.Contains(names, name) })
	return files, hashes
}

// FilesUnder reads files in dir and below, and no others: whoever may write
// resources could otherwise have any file of this machine sent to hosts. With
// dir "" there are none.
func FilesUnder(dir string) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if dir == "" {
			return nil, errors.New("no folder is set from which resources may have files: set resourceFiles (--resource-files)")
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("it is not in %s, from which resources may have files (resourceFiles)", dir)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		f, err := root.Open(rel)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err == nil && len(b) > maxFile {
			err = fmt.Errorf("it has more than %d bytes", maxFile)
		}
		return b, err
	}
}
