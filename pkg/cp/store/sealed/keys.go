package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// ErrKey is what every error wraps that the key file has to be mended for.
var ErrKey = errors.New("secrets cannot be opened")

// keySize is that of AES-256, in bytes.
const keySize = 32

// An ID names a key, and says nothing of it.
type ID [8]byte

func (i ID) String() string { return hex.EncodeToString(i[:]) }

type key struct {
	id   ID
	raw  []byte
	aead cipher.AEAD
}

func newKey(raw []byte) (key, error) {
	if len(raw) != keySize {
		return key{}, fmt.Errorf("a key has %d bytes, must have %d", len(raw), keySize)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCM(block)
	k := key{raw: raw, aead: aead}
	sum := sha256.Sum256(append([]byte("weft secrets key "), raw...))
	copy(k.id[:], sum[:])
	return k, err
}

// Keys are those of a key file: the first seals, all open. The file is read
// again when it has changed. Its methods may be called at once from many
// goroutines.
type Keys struct {
	path string

	mu   sync.Mutex
	all  []key
	read fs.FileInfo // as it was read last
}

// header tells whoever opens the file what it is.
const header = "# Keys of Weft's secrets at rest. The first seals, the others only open.\n# Without this file the secrets in the store are lost: keep a copy, apart from copies of the store.\n"

// OpenKeys reads a key file. It fails with fs.ErrNotExist, with ErrKey where it
// is damaged, and with keyfile.ErrExposed where others could have read it.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	return k, k.load()
}

// CreateKeys makes a key file with one key. Where another process was faster, it
// is that one's.
func CreateKeys(path string) (*Keys, error) {
	raw := make([]byte, keySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	fresh, err := newKey(raw)
	if err != nil {
		return nil, err
	}
	if err := keyfile.Create(path, encode([]key{fresh})); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return OpenKeys(path)
}

func encode(keys []key) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %s\n", k.id, base64.StdEncoding.EncodeToString(k.raw))
	}
	return b.Bytes()
}

// load is called with the lock, or before anybody else knows k.
func (k *Keys) load() error {
	info, err := os.Stat(k.path)
	if err != nil {
		return err
	}
	data, err := keyfile.Read(k.path)
	if err != nil {
		return err
	}
	var all []key
	for n, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		id, text, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.DecodeString(text)
		var one key
		if err == nil {
			one, err = newKey(raw)
		}
		if err != nil || one.id.String() != id {
			return fmt.Errorf("%w: line %d of %s is damaged: put the file back from a copy", ErrKey, n+1, k.path) // what it holds is nobody's business
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return fmt.Errorf("%w: %s holds no key: put the file back from a copy", ErrKey, k.path)
	}
	k.all, k.read = all, info
	return nil
}

// fresh loads the file again where it is another than was read. One that cannot
// be read leaves the keys as they are.
func (k *Keys) fresh() {
	info, err := os.Stat(k.path)
	if err != nil || os.SameFile(info, k.read) && info.ModTime().Equal(k.read.ModTime()) && info.Size() == k.read.Size() {
		return
	}
	_ = k.load()
}

// sealer is the key that seals now.
func (k *Keys) sealer() key {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fresh()
	return k.all[0]
}

// opener is the key of that name.
func (k *Keys) opener(id ID) (key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range 2 {
		for _, one := range k.all {
			if one.id == id {
				return one, true
			}
		}
		k.fresh()
	}
	return key{}, false
}

// Active names the key that seals now.
func (k *Keys) Active() ID { return k.sealer().id }

// IDs names all keys, the one that seals first.
func (k *Keys) IDs() (ids []ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.all {
		ids = append(ids, one.id)
	}
	return ids
}

// Add makes another key, which seals from now on.
func (k *Keys) Add() (ID, error) {
	raw := make([]byte, keySize)
	if _, err := rand.Read(raw); err != nil {
		return ID{}, err
	}
	next, err := newKey(raw)
	if err != nil {
		return ID{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fresh()
	if err := keyfile.Write(k.path, encode(append([]key{next}, k.all...))); err != nil {
		return ID{}, err
	}
	return next.id, k.load()
}

// DropOld forgets all keys but the one that seals. Nothing may be sealed by
// them any more.
func (k *Keys) DropOld() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fresh()
	if len(k.all) == 1 {
		return nil
	}
	if err := keyfile.Write(k.path, encode(k.all[:1])); err != nil {
		return err
	}
	return k.load()
}

// Changed is when the file was written last.
func (k *Keys) Changed() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read.ModTime()
}
