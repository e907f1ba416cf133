package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	// roomFor is how many lines a journal has beside four for each record, before
	// it is written anew.
	roomFor = 20_000
	// maxLine bounds one line, in bytes.
	maxLine = 64 << 10
)

// A journal is a file with a line for each change, of which the last one of a
// proxy counts. It is flushed and never synced: a crash of the machine costs
// what nobody misses.
type journal struct {
	path  string
	file  *os.File
	to    *bufio.Writer
	lines int
	fault error // the first that writing had; nothing is written after it
}

// A line is a record, or tells the keeper's name.
type line struct {
	Keeper string `json:"keeper,omitempty"`
	Proxy  string `json:"proxy,omitempty"` // <mesh>.<name>
	Record Record `json:"record,omitzero"`
}

// Open has the keeper remember what the journal at path holds, which is made
// where it is not there, and write to it. A stream without an end ended when the
// file was last written: the control plane that held it ended then. What cannot
// be read is left out.
func (k *Keeper) Open(path string, log *slog.Logger) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if bad := k.read(f, info.ModTime().UTC()); bad > 0 {
			log.Warn("lines of what is remembered of proxies cannot be read", "file", path, "lines", bad)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	k.journal = &journal{path: path}
	return k.rewrite()
}

func (k *Keeper) read(from io.Reader, ended time.Time) (bad int) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			bad++
			continue
		}
		if l.Keeper != "" {
			k.name = l.Keeper
			continue
		}
		meshName, name, ok := strings.Cut(l.Proxy, ".")
		if !ok {
			bad++
			continue
		}
		k.records[proxy.ID{Mesh: meshName, Name: name}] = l.Record
	}
	if lines.Err() != nil {
		bad++ // what follows a line that is too long
	}
	for _, r := range k.records {
		end(r.Past, ended)
	}
	return bad
}

// end ends the streams that nobody told the end of.
func end(past []mesh.Subscription, at time.Time) {
	for i := range past {
		if s := &past[i]; s.DisconnectTime.IsZero() {
			if s.DisconnectTime = at; at.Before(s.ConnectTime) {
				s.DisconnectTime = s.ConnectTime
			}
		}
	}
}

// rewrite replaces the file by one with a line for each record.
func (k *Keeper) rewrite() error {
	j := k.journal
	f, err := os.CreateTemp(filepath.Dir(j.path), "insights-*")
	if err != nil {
		return err
	}
	fresh := &journal{path: j.path, file: f, to: bufio.NewWriter(f)}
	fresh.append(line{Keeper: k.name})
	for id, r := range k.records {
		fresh.write(id, r)
	}
	err = errors.Join(fresh.fault, fresh.to.Flush())
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", j.path, err), f.Close(), os.Remove(f.Name()))
	}
	j.close()
	k.journal = fresh
	return nil
}

func (j *journal) write(id proxy.ID, r Record) {
	if j == nil || j.fault != nil {
		return
	}
	j.append(line{Proxy: id.String(), Record: r})
}

func (j *journal) append(l line) {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = j.to.Write(append(text, '\n'))
	}
	j.fault = err
	j.lines++
}

func (j *journal) close() {
	if j != nil && j.file != nil {
		_ = errors.Join(j.to.Flush(), j.file.Close())
	}
}

// Flush brings what is remembered to the file, and writes that anew where it has
// grown too long.
func (k *Keeper) Flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	j := k.journal
	if j == nil {
		return nil
	}
	if j.fault != nil || j.lines > 4*len(k.records)+roomFor {
		return k.rewrite()
	}
	if j.to.Buffered() == 0 {
		return nil
	}
	return j.to.Flush()
}

// Close flushes for the last time.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal.close()
	k.journal = nil
}
