package store

import (
	"fmt"
	"syscall"
)

// DefaultReserve is how much of the disk is kept free, or a twentieth of the disk if that is more.
const DefaultReserve = 2 << 30

// Disk is how the disk below the data directory stands.
type Disk struct {
	Free    int64 // bytes that can still be written
	Total   int64
	Reserve int64 // when fewer are free, nothing new is begun
}

// Low reports whether the disk is too full to begin anything new.
func (d Disk) Low() bool { return d.Free < d.Reserve }

// Disk looks at the disk below the data directory.
func (s *Store) Disk() (Disk, error) { return DiskOf(s.dir, s.reserve) }

// DiskOf looks at the disk below a directory. A reserve of 0 is the standard one.
func DiskOf(dir string, reserve int64) (Disk, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return Disk{}, fmt.Errorf("looking at the disk below %s: %w", dir, err)
	}
	d := Disk{Free: int64(fs.Bavail) * fs.Bsize, Total: int64(fs.Blocks) * fs.Bsize, Reserve: reserve}
	if d.Reserve == 0 {
		d.Reserve = max(DefaultReserve, d.Total/20)
	}
	return d, nil
}
