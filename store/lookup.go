package store

import (
	"bufio"
	"bytes"
	"io"
)

// BuildIDs are the ids of builds that begin with prefix, at most max.
func (tx *Tx) BuildIDs(prefix string, max int) []string {
	var ids []string
	c := tx.bucket(bucketBuilds).Cursor()
	for id, _ := c.Seek([]byte(prefix)); id != nil && bytes.HasPrefix(id, []byte(prefix)) && len(ids) < max; id, _ = c.Next() {
		ids = append(ids, string(id))
	}
	return ids
}

// LineOffset is the byte of a build's log that a line begins with, counted from 1; the end of the log for a line that there
// is not.
func (s *Store) LineOffset(build string, line int) (int64, error) {
	f, err := s.OpenLog(build)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	x := s.logs.index(build)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.extend(f); err != nil {
		return 0, err
	}
	line = min(max(line, 1), x.lines+2)
	at := min((line-1)/indexStep, len(x.starts)-1)
	offset := x.starts[at]
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(io.LimitReader(f, x.scanned-offset), 64<<10)
	for n := at*indexStep + 1; n < line; {
		chunk, err := r.ReadSlice('\n')
		offset += int64(len(chunk))
		switch {
		case err == nil:
			n++
		case err == io.EOF:
			return offset, nil
		case err != bufio.ErrBufferFull:
			return 0, err
		}
	}
	return offset, nil
}
