package cache

import (
	"context"
	"io"
)

// Unpack is Restore of bytes.
func Unpack(ctx context.Context, archive io.Reader, root string, o RestoreOptions) (Stats, error) {
	return unpack(ctx, archive, root, o)
}

// At makes a store tell the steps of Keep.
func (s *Store) At(f func(step string)) { s.at = f }

const (
	Magic     = magic
	EndRecord = endRecord
	ChunkSize = chunkSize
	LargeFile = largeFile
	MaxFrame  = maxFrame
	MaxNotes  = maxNotes
)

// MountAll gives the directory of all scopes of a project.
func (s *Store) MountAll(project string) (string, error) {
	dir := s.project(project)
	return dir, s.mkdir(dir)
}
