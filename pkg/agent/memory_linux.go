package agent

import "golang.org/x/sys/unix"

// inMemory tells whether what is written to a folder never gets to a disk, swap
// aside.
func inMemory(dir string) (bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return false, err
	}
	return s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC, nil
}
