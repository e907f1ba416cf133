package identity

import (
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// maxLearned bounds what a control plane may say of others.
const (
	maxLearned = 64
	maxAddress = 300 // bytes
)

// addresses are all that are known, each once. It is called with the lock.
func (i *Identity) addresses() (all []string) {
	for _, a := range append(slices.Clone(i.learned), i.Addresses...) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// order is that in which control planes are tried: by chance, so that the hosts
// of one that has gone spread over the others, but what control planes say
// before what was configured once, and the one that was lost at the end.
func (i *Identity) order() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.addresses()
	n := min(len(i.learned), len(all))
	shuffle := func(s []string) { rand.Shuffle(len(s), func(a, b int) { s[a], s[b] = s[b], s[a] }) }
	shuffle(all[:n])
	shuffle(all[n:])
	if at := slices.Index(all, i.last); at >= 0 {
		all = append(slices.Delete(all, at, at+1), i.last)
	}
	if at := slices.Index(all, i.next); at >= 0 {
		all = slices.Insert(slices.Delete(all, at, at+1), 0, i.next)
	}
	i.next = ""
	return all
}

// dialled notes by which address a connection was made. Of several attempts at
// once only one comes to be used: see connected.
func (i *Identity) dialled(remote, address string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.remotes) > 4*maxLearned {
		clear(i.remotes)
	}
	i.remotes[remote] = address
}

// connected notes which control plane is heard on a stream.
func (i *Identity) connected(remote string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if address, ok := i.remotes[remote]; ok {
		i.last = address
	}
}

func (i *Identity) learnedFile() string { return filepath.Join(i.files.dir, "control-planes") }

// Learn takes a control plane's word on where control planes are. None means
// that it has nothing to say.
func (i *Identity) Learn(said []string) {
	said = usable(said)
	i.mu.Lock()
	same := slices.Equal(said, i.learned)
	if len(said) > 0 && !same {
		i.learned = said
	}
	i.mu.Unlock()
	if len(said) == 0 || same {
		return
	}
	i.log().Info("control planes learned", "addresses", said)
	if err := keyfile.Write(i.learnedFile(), []byte(strings.Join(said, "\n")+"\n")); err != nil {
		i.log().Warn("addresses of control planes were not saved", "error", err)
	}
}

func (i *Identity) readLearned() []string {
	data, err := keyfile.Read(i.learnedFile())
	if err != nil {
		return nil
	}
	return usable(strings.Fields(string(data)))
}

func (i *Identity) forgetLearned() error { return removeFile(i.learnedFile()) }

func usable(said []string) (out []string) {
	for _, a := range said {
		host, port, err := net.SplitHostPort(a)
		if err == nil && host != "" && port != "" && len(a) <= maxAddress && len(out) < maxLearned && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}
