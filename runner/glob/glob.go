// Package glob holds the file patterns of buildspec.yml: those of artifacts, reports and caches.
//
// AWS documents four forms (file.ext, dir/*, dir/**/*, **/*) in the build specification reference,
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html; the rules here fill the
// gaps it leaves:
//
//   - A pattern is matched against the slash-separated path of a file. Directories are never entries.
//   - * and ? stay within one path component, [abc], [a-z], [^a] and [!a] are classes, \ takes the next
//     character literally, braces mean themselves. Dot files match like others.
//   - ** as a whole component stands for any number of directories, none included; as the last component
//     it stands for every file below.
//   - A leading ./ and doubled slashes are dropped. Components .. are resolved in the pattern; leading ones
//     move the base up.
package glob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Pattern is one compiled pattern. The zero value matches nothing.
type Pattern struct {
	up    int      // leading .. components
	abs   bool     // began with a slash
	parts []string // without leading ..; never two ** in a row
}

// Compile reads a pattern. It fails for an empty pattern, one with a NUL byte, and a class that is not closed.
func Compile(pattern string) (Pattern, error) {
	if strings.TrimSpace(pattern) == "" {
		return Pattern{}, errors.New("the pattern is empty")
	}
	if strings.ContainsRune(pattern, 0) {
		return Pattern{}, fmt.Errorf("pattern %q has a NUL byte", pattern)
	}
	var p Pattern
	p.abs = strings.HasPrefix(pattern, "/")
	for part := range strings.SplitSeq(pattern, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			if n := len(p.parts); n > 0 {
				p.parts = p.parts[:n-1]
			} else if !p.abs {
				p.up++
			}
			continue
		case "**":
			if n := len(p.parts); n > 0 && p.parts[n-1] == "**" {
				continue
			}
		}
		part = negate(part)
		if _, err := path.Match(part, ""); err != nil {
			return Pattern{}, fmt.Errorf("pattern %q: the class in %q is not closed; write \\[ for a plain bracket", pattern, part)
		}
		p.parts = append(p.parts, part)
	}
	return p, nil
}

// negate rewrites [!a], the shell's form of a negated class, to [^a], the form of path.Match.
func negate(part string) string {
	if !strings.Contains(part, "[!") {
		return part
	}
	var b strings.Builder
	inClass := false
	for i := 0; i < len(part); i++ {
		c := part[i]
		switch {
		case c == '\\' && i+1 < len(part):
			b.WriteByte(c)
			i++
			c = part[i]
		case inClass && c == ']':
			inClass = false
		case !inClass && c == '[':
			inClass = true
			if i+1 < len(part) && part[i+1] == '!' {
				b.WriteString("[^")
				i++
				continue
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Match reports whether the pattern matches name, the slash-separated path of a file relative to the base (after
// the leading .. of the pattern moved it), or below the root for a pattern that begins with a slash.
func (p Pattern) Match(name string) bool {
	if name == "" || len(p.parts) == 0 {
		return false
	}
	names := strings.Split(name, "/")
	// Every component but ** takes exactly one name, so that it is enough to go back to the last ** seen.
	i, j := 0, 0
	star, resume := -1, 0
	for j < len(names) {
		switch {
		case i < len(p.parts) && p.parts[i] == "**":
			if i == len(p.parts)-1 {
				return true
			}
			star, resume = i, j
			i++
		case i < len(p.parts) && matchComponent(p.parts[i], names[j]):
			i++
			j++
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	return i == len(p.parts)
}

func matchComponent(part, name string) bool {
	ok, err := path.Match(part, name)
	return ok && err == nil
}

// literal is the leading part of the pattern without any special character; the last component is never part of it.
func (p Pattern) literal() []string {
	for i, part := range p.parts {
		if i == len(p.parts)-1 || strings.ContainsAny(part, `*?[\`) {
			return p.parts[:i]
		}
	}
	return nil
}

// depth is how many components a match can have, or -1 if there is no bound.
func (p Pattern) depth() int {
	if slices.Contains(p.parts, "**") {
		return -1
	}
	return len(p.parts)
}

// A File is a file that a pattern matched.
type File struct {
	Name string // path in the pattern's terms: relative, slash-separated, without ..
	Path string // where it lies
}

// Files returns the files below the directory base that the pattern matches, sorted by name. What is not a directory
// is a file, symbolic links included; they are not followed, except where the literal beginning of the pattern leads
// through them. A directory that cannot be read is passed over. A base that does not exist has no files.
func (p Pattern) Files(base string) []File {
	var found []File
	p.walk(base, func(name, path string, entry fs.DirEntry) {
		if !entry.IsDir() {
			found = append(found, File{Name: name, Path: path})
		}
	})
	slices.SortFunc(found, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Dirs returns the paths of the directories below base that the pattern matches, sorted; base itself for ".". A
// symbolic link to a directory is a directory here.
func (p Pattern) Dirs(base string) []string {
	if len(p.parts) == 0 {
		return p.existing(p.root(base))
	}
	if !p.special() {
		return p.existing(filepath.Join(append([]string{p.root(base)}, p.parts...)...))
	}
	var found []string
	p.walk(base, func(name, path string, entry fs.DirEntry) {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			found = append(found, path)
		}
	})
	slices.Sort(found)
	return found
}

func (p Pattern) existing(dir string) []string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	return []string{dir}
}

func (p Pattern) special() bool {
	return slices.ContainsFunc(p.parts, func(part string) bool { return strings.ContainsAny(part, `*?[\`) })
}

// root is the directory that names are relative to.
func (p Pattern) root(base string) string {
	if p.abs {
		return "/"
	}
	for range p.up {
		base = filepath.Dir(base)
	}
	return base
}

// walk calls visit for every entry that matches.
func (p Pattern) walk(base string, visit func(name, path string, entry fs.DirEntry)) {
	if len(p.parts) == 0 {
		return
	}
	root := p.root(base)
	prefix := p.literal()
	bound := p.depth()
	var descend func(dir string, names []string)
	descend = func(dir string, names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		for _, entry := range entries {
			below := append(names[:len(names):len(names)], entry.Name())
			name := strings.Join(below, "/")
			full := filepath.Join(dir, entry.Name())
			if p.Match(name) {
				visit(name, full, entry)
			}
			if entry.IsDir() && (bound < 0 || len(below) < bound) {
				descend(full, below)
			}
		}
	}
	descend(filepath.Join(append([]string{root}, prefix...)...), prefix)
}
