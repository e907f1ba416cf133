package sqlite

import (
	"errors"
	"fmt"
	"sync"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// errDisk is an error of the disk beneath the file.
var errDisk = errors.New("the disk failed")

// A failure is final: once the disk has failed a write or a flush nobody can
// tell what is on it, and trying again would acknowledge what is not there.
type failure struct {
	mu    sync.Mutex
	cause error
	ch    chan struct{} // closed when there is a cause
}

// judge gives an error of a transaction its meaning, and notes one that is
// final.
func (f *failure) judge(err error) error {
	code := 0
	if failed, ok := errors.AsType[*driver.Error](err); ok {
		code = failed.Code()
	}
	switch primary := code & 0xff; {
	case err == nil:
		return nil
	case primary == codes.SQLITE_FULL, code == codes.SQLITE_IOERR_SHMSIZE:
		return fmt.Errorf("%w: make room on the disk of the data directory: %w", store.ErrFull, err)
	case primary == codes.SQLITE_READONLY, primary == codes.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: its disk cannot be written: %w", store.ErrUnavailable, err)
	case primary == codes.SQLITE_IOERR, primary == codes.SQLITE_CORRUPT, errors.Is(err, errDisk):
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.cause == nil {
			f.cause = fmt.Errorf("%w: its disk failed, and it takes no write until the control plane is started again: %w", store.ErrUnavailable, err)
			close(f.ch)
		}
		return f.cause
	}
	return err
}

func (f *failure) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

func (f *failure) is() bool { return f.err() != nil }

// Failed implements store.Keeper.
func (s *Store) Failed() <-chan struct{} { return s.failed.ch }
