package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lcov reads the tracefiles of lcov and geninfo. A source file may have several records, one for each test.
//
//	TN:test
//	SF:path
//	DA:line,count[,checksum]
//	BRDA:line,block,branch,taken   (taken is - if the code was not reached)
//	LF:lines  LH:hit  BRF:branches  BRH:taken
//	end_of_record
//
// The numbers count only in a record without lines or branches.
func lcov(p *parser) error {
	var failure error
	p.files.fail = func(format string, args ...any) {
		failure = &problem{line: p.in.line, text: fmt.Sprintf(format, args...)}
	}
	p.stopped = func() bool { return failure != nil }
	var r *record
	var found, hit, ways, taken int
	var buf []byte
	path, began := "", 0
	for failure == nil && !p.in.ended() {
		line := p.in.line
		buf, _ = p.in.through("\n", buf[:0], maxValue)
		text := strings.TrimSpace(string(buf))
		if text == "" || text[0] == '#' {
			continue
		}
		if text == "end_of_record" {
			if r == nil {
				return &problem{line: line, text: "has an end_of_record without SF"}
			}
			if r.marks == nil {
				r.countLines(hit, found)
			}
			if r.branches == nil {
				r.countBranches(taken, ways)
			}
			p.addFile(r)
			r = nil
			continue
		}
		key, value, ok := strings.Cut(text, ":")
		if !ok || !upper(key) {
			return &problem{line: line, text: fmt.Sprintf("no LCOV: %q is no record of it", short(text))}
		}
		if key == "SF" {
			if r != nil {
				return &problem{line: line, text: fmt.Sprintf("has a second SF before the end_of_record of %q", short(path))}
			}
			path, began = value, line
			r = newRecord(p.src.covered(value, nil))
			found, hit, ways, taken = 0, 0, 0, 0
			continue
		}
		if r == nil {
			continue // TN, and what only other versions know
		}
		switch key {
		case "DA":
			number, rest, _ := strings.Cut(value, ",")
			hits, _, _ := strings.Cut(rest, ",")
			if len(r.marks) <= maxLines {
				r.line(lineNumber(number), count(hits) > 0)
			}
		case "BRDA":
			number, id, _ := strings.Cut(value, ",")
			if i := strings.LastIndexByte(id, ','); i >= 0 {
				r.taken(lineNumber(number), id[:i], count(id[i+1:]) > 0)
			}
		case "LF":
			found = count(value)
		case "LH":
			hit = count(value)
		case "BRF":
			ways = count(value)
		case "BRH":
			taken = count(value)
		}
	}
	switch {
	case failure != nil:
		return failure
	case !errors.Is(p.in.err, io.EOF):
		return p.in.err
	case r != nil:
		return &problem{line: p.in.line, text: fmt.Sprintf("ends in the middle: the record of line %d has no end_of_record", began)}
	}
	return nil
}

// upper reports whether s is a word of capital letters, as the keys of LCOV are.
func upper(s string) bool {
	return s != "" && len(bytes.Trim([]byte(s), "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) == 0
}
