package report

import (
	"hash/fnv"
	"strconv"
	"strings"
)

// simplecov reads the two files of SimpleCov: .resultset.json, with the results of each command, and coverage.json of
// its JSON formatter. The results of the commands add up by line.
//
//	{"RSpec": {"coverage": {"/src/a.rb": {"lines": [1, null, 0], "branches": {"[:if, 0, 1, 2, 3, 4]": {"[:then, …]": 1}}}}}}
//	{"meta": …, "coverage": {"/src/a.rb": {"lines": [1, null, "ignored"], "branches": [{"type", "start_line", "coverage"}]}}}
//
// Before SimpleCov 0.18 the list of lines stood in place of the object of a file.
func simplecov(p *parser, j *jsonReader) {
	if kind := j.kind(); kind != '{' {
		if kind == '[' {
			j.fail("no SimpleCov result: it is a list, not an object")
		} else {
			j.unexpected()
		}
		return
	}
	found, empty, gem := false, true, false
	j.object(func(key string) {
		empty = false
		switch {
		case key == "coverage" && j.kind() == '{':
			found = true
			p.simplecovFiles(j)
		case key == "files" && j.kind() == '[':
			gem = true
		case j.kind() == '{':
			j.object(func(key string) {
				if key == "coverage" && j.kind() == '{' {
					found = true
					p.simplecovFiles(j)
				}
			})
		}
	})
	switch {
	case found || empty:
	case gem:
		j.fail("no SimpleCov result: the format of the simplecov-json gem is not read; use .resultset.json or the JSON " +
			"formatter of SimpleCov itself")
	default:
		j.fail(`no SimpleCov result: there is no "coverage" in it`)
	}
}

func (p *parser) simplecovFiles(j *jsonReader) {
	j.object(func(path string) {
		r := newRecord(p.src.covered(path, nil))
		if j.kind() == '[' {
			simplecovLines(j, r)
		} else {
			j.object(func(key string) {
				switch key {
				case "lines":
					simplecovLines(j, r)
				case "branches":
					simplecovBranches(j, r)
				}
			})
		}
		p.addFile(r)
	})
}

// simplecovLines reads a list with a number for each line that has code, and null or "ignored" for the others.
func simplecovLines(j *jsonReader, r *record) {
	number := 0
	j.array(func() {
		number++
		if j.kind() == '0' && len(r.marks) <= maxLines {
			r.line(number, j.number() > 0)
		}
	})
}

func simplecovBranches(j *jsonReader, r *record) {
	if j.kind() == '[' {
		n := 0
		j.array(func() {
			kind, line, ran, counts := "", 0, false, false
			j.object(func(key string) {
				switch key {
				case "type":
					kind = j.text()
				case "start_line":
					line = clampCount(j.number())
				case "coverage":
					if counts = j.kind() == '0'; counts {
						ran = j.number() > 0
					}
				}
			})
			// The list is in the same order in every result of a file.
			n++
			if counts {
				r.taken(line, kind+strconv.Itoa(n), ran)
			}
		})
		return
	}
	j.object(func(condition string) {
		j.object(func(way string) {
			if j.kind() == '0' {
				r.taken(rubyLine(condition), condition+"\n"+way, j.number() > 0)
			}
		})
	})
}

// rubyLine is the line of a condition as Ruby names it: [:if, 0, 12, 4, 16, 7], where the 0 is its number.
func rubyLine(condition string) int {
	parts := strings.SplitN(condition, ",", 4)
	if len(parts) < 4 {
		return 1
	}
	return max(1, lineNumber(parts[2]))
}

// taken notes one branch, which id tells apart from others at its line.
func (r *record) taken(line int, id string, ran bool) {
	if len(r.branches) > maxBranches {
		return // add refuses the record
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	covered := 0
	if ran {
		covered = 1
	}
	r.branch(line, h.Sum32(), covered, 1)
}
