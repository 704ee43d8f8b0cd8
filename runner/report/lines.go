package report

import (
	"cmp"
	"slices"
	"strings"

	"buildsmith/store"
)

// A record is what is known of the coverage of one source file: its lines and branches one by one, so that what several
// tests ran of it adds up, or only their numbers.
type record struct {
	path string

	marks    []uint32 // line<<1, and 1 if it ran
	branches []branch

	sortedMarks, sortedBranches int // length after the last compact, which is what makes its cost bearable

	lineCount, branchCount tally
}

// A branch is one way that the code may go at a line, or all of them.
type branch struct {
	line, id       uint32 // id tells the branches of a line apart
	covered, total uint32
}

// A tally is what the files that tell only, or also, numbers say.
type tally struct {
	sources  int // that told of the source file
	blind    int // that told numbers without lines
	told     bool
	ran, not int // the best numbers
}

// better takes numbers if they are better than those before.
func (t *tally) better(ran, not int) {
	if !t.told || part(ran, not) > part(t.ran, t.not) || part(ran, not) == part(t.ran, t.not) && ran+not > t.ran+t.not {
		t.ran, t.not = ran, not
	}
	t.told = true
}

func part(ran, not int) float64 {
	if ran+not == 0 {
		return 0
	}
	return float64(ran) / float64(ran+not)
}

func newRecord(path string) *record {
	return &record{path: path, lineCount: tally{sources: 1}, branchCount: tally{sources: 1}}
}

// line notes that a line has code, and whether it ran.
func (r *record) line(number int, ran bool) {
	if number <= 0 || number > maxLineNumber {
		return
	}
	m := uint32(number) << 1
	if ran {
		m |= 1
	}
	r.marks = append(r.marks, m)
}

// branch notes branches at a line.
func (r *record) branch(line int, id uint32, covered, total int) {
	if line <= 0 || line > maxLineNumber || total <= 0 {
		return
	}
	r.branches = append(r.branches, branch{uint32(line), id, uint32(min(covered, total)), uint32(total)})
}

// countLines and countBranches note numbers, of which covered are at most total.
func (r *record) countLines(covered, total int) { r.lineCount.state(covered, total, r.marks == nil) }
func (r *record) countBranches(covered, total int) {
	r.branchCount.state(covered, total, r.branches == nil)
}

func (t *tally) state(covered, total int, blind bool) {
	covered = min(covered, total)
	t.better(covered, total-covered)
	if blind && total > 0 {
		t.blind = 1
	}
}

// merge adds what another record tells of the same file.
func (r *record) merge(other *record) {
	r.marks = append(r.marks, other.marks...)
	r.branches = append(r.branches, other.branches...)
	r.lineCount.merge(other.lineCount)
	r.branchCount.merge(other.branchCount)
	if len(r.marks) > 2*r.sortedMarks+1024 || len(r.branches) > 2*r.sortedBranches+1024 {
		r.compact()
	}
}

func (t *tally) merge(other tally) {
	t.sources += other.sources
	t.blind += other.blind
	if other.told {
		t.better(other.ran, other.not)
	}
}

// compact leaves one mark of each line and one of each branch.
func (r *record) compact() {
	slices.Sort(r.marks)
	kept := r.marks[:0]
	for _, m := range r.marks {
		if n := len(kept); n > 0 && kept[n-1]>>1 == m>>1 {
			kept[n-1] |= m
		} else {
			kept = append(kept, m)
		}
	}
	r.marks, r.sortedMarks = kept, len(kept)

	slices.SortFunc(r.branches, func(a, b branch) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.id, b.id))
	})
	left := r.branches[:0]
	for _, b := range r.branches {
		if n := len(left); n > 0 && left[n-1].line == b.line && left[n-1].id == b.id {
			left[n-1].covered = max(left[n-1].covered, b.covered)
			left[n-1].total = max(left[n-1].total, b.total)
		} else {
			left = append(left, b)
		}
	}
	r.branches, r.sortedBranches = left, len(left)
}

// coverage counts the record.
func (r *record) coverage() store.Coverage {
	r.compact()
	var ran, not int
	for _, m := range r.marks {
		if m&1 == 1 {
			ran++
		} else {
			not++
		}
	}
	var c store.Coverage
	c.LinesCovered, c.LinesMissed = r.lineCount.choose(ran, not)
	ran, not = 0, 0
	for _, b := range r.branches {
		ran += int(b.covered)
		not += int(b.total - b.covered)
	}
	c.BranchesCovered, c.BranchesMissed = r.branchCount.choose(ran, not)
	return c
}

// choose takes the numbers that the only source states, else those of the lines if every source tells lines, else the
// best.
func (t tally) choose(ran, not int) (int, int) {
	switch {
	case !t.told || t.sources > 1 && t.blind == 0:
		return ran, not
	case t.sources == 1:
		return t.ran, t.not
	}
	t.better(ran, not)
	return t.ran, t.not
}

// A fileList keeps records by path, at most MaxCovered.
type fileList struct {
	list    []*record
	byPath  map[string]*record
	dropped int

	// fail, if it is set, is called when the records hold more lines or branches than they may.
	fail            func(format string, args ...any)
	lines, branches int
}

// add takes a record over.
func (l *fileList) add(r *record) {
	if l.byPath == nil {
		l.byPath = make(map[string]*record)
	}
	if l.lines+len(r.marks) > maxLines || l.branches+len(r.branches) > maxBranches {
		if l.fail != nil {
			l.fail("tells of more than %d lines or %d branches", maxLines, maxBranches)
			return
		}
		r = r.blinded()
	}
	known, ok := l.byPath[r.path]
	switch {
	case ok:
		l.lines -= len(known.marks)
		l.branches -= len(known.branches)
		known.merge(r)
		l.lines += len(known.marks)
		l.branches += len(known.branches)
	case len(l.list) == MaxCovered:
		l.dropped++
	default:
		l.list = append(l.list, r)
		l.byPath[r.path] = r
		l.lines += len(r.marks)
		l.branches += len(r.branches)
	}
}

// blinded is the record with nothing but its numbers.
func (r *record) blinded() *record {
	c := r.coverage()
	return numbered(store.FileCoverage{Path: r.path, Coverage: c})
}

// numbered is a record that has only numbers.
func numbered(f store.FileCoverage) *record {
	r := newRecord(f.Path)
	r.countLines(f.LinesCovered, f.LinesCovered+f.LinesMissed)
	r.countBranches(f.BranchesCovered, f.BranchesCovered+f.BranchesMissed)
	return r
}

// counted is the list sorted by path, as coverage and as records.
func (l *fileList) counted() ([]store.FileCoverage, []*record) {
	if len(l.list) == 0 {
		return nil, nil
	}
	slices.SortFunc(l.list, func(a, b *record) int { return strings.Compare(a.path, b.path) })
	coverage := make([]store.FileCoverage, len(l.list))
	for i, r := range l.list {
		coverage[i] = store.FileCoverage{Path: r.path, Coverage: r.coverage()}
	}
	return coverage, l.list
}
