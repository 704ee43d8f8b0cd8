package report

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of looking for a place, which a file can ask for very often.
const (
	maxAlike    = 100   // files of one name that are looked through for the one that is meant
	maxTried    = 100   // places of one text that are looked up
	maxColons   = 1_000 // places where one text may name one
	longestPath = 500   // bytes of a path or of what is before it
)

// A Source is the source tree that the files of a report speak of. A nil Source knows nothing of it.
type Source struct {
	roots []string
	known bool                // whether files tells the tree
	files map[string]struct{} // by path
	named map[string][]string // paths by their last component
}

// NewSource describes a source tree. roots are the absolute paths where the tree lies or lay for the tools; files are
// its files, slash-separated and relative, or nil if they are not known.
//
// With files a path counts as one of the source only if it is one of them, or is the end of the path of exactly one:
// many tools write paths relative to a module, a package or a class path. Without files any relative path counts.
func NewSource(roots, files []string) *Source {
	s := &Source{known: files != nil}
	for _, root := range roots {
		root = strings.TrimRight(slashes(root), "/")
		if absolute(root) {
			s.roots = append(s.roots, root)
		}
	}
	// Of roots within each other the innermost is the one to cut off.
	slices.SortStableFunc(s.roots, func(a, b string) int { return len(b) - len(a) })
	if s.known {
		s.files = make(map[string]struct{}, len(files))
		s.named = make(map[string][]string)
		for _, file := range files {
			s.files[file] = struct{}{}
			s.named[path.Base(file)] = append(s.named[path.Base(file)], file)
		}
	}
	return s
}

func slashes(p string) string { return strings.ReplaceAll(p, `\`, "/") }

func absolute(p string) bool {
	return strings.HasPrefix(p, "/") || len(p) >= 2 && p[1] == ':' && unicode.IsLetter(rune(p[0]))
}

// below is p relative to the source. It is not ok for a path that lies elsewhere or may: one that is absolute and below
// no root, or has a component "..".
func (s *Source) below(p string) (rel string, ok bool) {
	p = strings.TrimSpace(p)
	if rest, found := strings.CutPrefix(p, "file:"); found {
		p = rest
		if strings.HasPrefix(p, "///") {
			p = p[2:]
		}
	}
	p = slashes(p)
	if absolute(p) {
		inside := false
		if s != nil {
			for _, root := range s.roots {
				if rest, found := strings.CutPrefix(p, root+"/"); found {
					p, inside = strings.TrimLeft(rest, "/"), true
					break
				}
			}
		}
		if !inside || absolute(p) {
			return "", false
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", false
		}
	}
	if p == "" || !utf8.ValidString(p) || utf8.RuneCountInString(p) > MaxName || tidyName(p) != p {
		return "", false
	}
	if p = path.Clean(p); p == "." {
		return "", false
	}
	return p, true
}

// file is the file of the source that p means, "" if it means none. hint, a package or class, tells which of several
// files whose paths end in p is meant.
func (s *Source) file(p, hint string) string {
	rel, ok := s.below(p)
	if !ok {
		return ""
	}
	if s == nil || !s.known {
		return rel
	}
	if _, ok := s.files[rel]; ok {
		return rel
	}
	return s.ending(rel, hint)
}

// ending is the only file of the source whose path ends in rel. Of several it is the one that has the longest directory
// which hint ends in, as the import path of a Go package ends in its directory.
func (s *Source) ending(rel, hint string) string {
	alike := s.named[path.Base(rel)]
	if len(alike) > maxAlike {
		return ""
	}
	found, best, tie := "", -1, false
	for _, file := range alike {
		dir, ok := strings.CutSuffix(file, rel)
		if !ok || dir != "" && dir[len(dir)-1] != '/' {
			continue
		}
		score := 0
		if dir = file[:max(0, strings.LastIndexByte(file, '/'))]; endsIn(hint, dir) {
			score = len(dir)
		}
		switch {
		case score > best:
			found, best, tie = file, score, false
		case score == best:
			tie = true
		}
	}
	if tie {
		return ""
	}
	return found
}

// endsIn reports whether a package or class ends in the components of a directory.
func endsIn(hint, dir string) bool {
	if dir == "" || len(hint) < len(dir) {
		return false
	}
	begin := len(hint) - len(dir)
	for i := len(dir) - 1; i >= 0; i-- {
		if h := hint[begin+i]; h != dir[i] && !(divides(h) && divides(dir[i])) {
			return false
		}
	}
	return begin == 0 || divides(hint[begin-1])
}

func divides(b byte) bool { return b == '/' || b == '.' }

// covered is the path under which the coverage of p is kept: that of a file of the source if p means one, else p as it
// was written. bases are directories that p may be relative to.
func (s *Source) covered(p string, bases []string) string {
	for _, base := range bases {
		if absolute(slashes(p)) {
			break
		}
		rel, ok := s.below(path.Join(slashes(base), slashes(p)))
		if !ok {
			continue
		}
		if s == nil || !s.known {
			if len(bases) == 1 {
				return rel
			}
			continue
		}
		if _, ok := s.files[rel]; ok {
			return rel
		}
	}
	if rel, ok := s.below(p); ok {
		if s != nil && s.known {
			if file := s.file(rel, ""); file != "" {
				return file
			}
		}
		return rel
	}
	return tidyName(p)
}

// A place is a source file and line that a text names.
type place struct {
	path  string
	frame string // what stands before the bracket of a JVM's frame: com.example.FooTest.testBar
	line  int
}

// find is the first place in a text that lies in the source; if only is not empty, in that file. The code of packages
// that a build installs within its tree is passed over.
func (s *Source) find(text, hint, only string) (file string, line int) {
	tried := 0
	for p := range places(text) {
		if tried++; tried > maxTried {
			break
		}
		f := ""
		if jvm(p.path) && !strings.ContainsAny(p.path, `/\`) {
			// A class file knows only the name of its source; its package tells the end of the directory.
			if s == nil || !s.known {
				continue
			}
			frame := p.frame[strings.LastIndexByte(p.frame, '/')+1:]
			if parts := strings.Split(frame, "."); len(parts) > 2 {
				f = s.file(path.Join(path.Join(parts[:len(parts)-2]...), p.path), hint)
			} else {
				f = s.file(p.path, hint)
			}
		} else {
			f = s.file(p.path, hint)
		}
		if f != "" && !installed(f) && (only == "" || f == only) {
			return f, p.line
		}
	}
	return "", 0
}

func installed(file string) bool {
	for part := range strings.SplitSeq(file, "/") {
		switch part {
		case "node_modules", "bower_components", "site-packages", "dist-packages", "vendor", ".venv", "venv", ".tox", ".nox",
			".bundle", "gems", ".cargo", ".m2", "Pods":
			return true
		}
	}
	return false
}

func jvm(p string) bool {
	switch path.Ext(p) {
	case ".java", ".kt", ".scala", ".groovy", ".clj":
		return true
	}
	return false
}

// places are the places that a text names, in its order, in the ways of compilers, test tools and stack traces:
//
//	dir/x.go:12        dir\x.js:12:5       (/root/x.js:12:5)      file:///root/x.mjs:12:5
//	File "x.py", line 12                   in C:\dir\x.cs:line 12
//	at com.example.FooTest.testBar(FooTest.java:12)
func places(text string) func(yield func(place) bool) {
	return func(yield func(place) bool) {
		looked := 0
		for i := range len(text) {
			var p place
			if text[i] != ':' && text[i] != '"' {
				continue
			}
			switch {
			case text[i] == ':' && strings.HasPrefix(text[i+1:], "line "):
				p.line = digits(text[i+len(":line "):])
				p.path = lastAfter(text[:i], " in ")
			case text[i] == ':' && i+1 < len(text) && isDigit(text[i+1]):
				p.line = digits(text[i+1:])
				p.path, p.frame = pathAtEnd(text[:i])
			case text[i] == '"' && strings.HasPrefix(text[i:], `", line `):
				p.line = digits(text[i+len(`", line `):])
				p.path = lastAfter(text[:i], `File "`)
			default:
				continue
			}
			if looked++; looked > maxColons {
				return
			}
			if p.line > 0 && isSource(p.path) && !yield(p) {
				return
			}
		}
	}
}

// digits is the number that s begins with, 0 if it is none or too large for a line.
func digits(s string) int {
	n := 0
	for i := 0; i < len(s) && isDigit(s[i]); i++ {
		if n = 10*n + int(s[i]-'0'); n > maxLineNumber {
			return 0
		}
	}
	return n
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// lastAfter is what follows the last occurrence of mark in the last line of s.
func lastAfter(s, mark string) string {
	s = s[max(0, len(s)-longestPath):]
	s = s[strings.LastIndexByte(s, '\n')+1:]
	i := strings.LastIndex(s, mark)
	if i < 0 {
		return ""
	}
	return s[i+len(mark):]
}

// pathAtEnd is the path that s ends in, and the frame before it.
func pathAtEnd(s string) (p, frame string) {
	begin := lastRun(s, func(b byte) bool {
		return b >= 0x80 || isWord(b) || strings.IndexByte(`./\+@~$%-`, b) >= 0
	})
	p = s[begin:]
	before := s[:begin]
	if p == "" || before == "" {
		return p, ""
	}
	switch before[len(before)-1] {
	case '(':
		before = before[:len(before)-1]
		frame = before[lastRun(before, func(b byte) bool {
			return b >= 0x80 || isWord(b) || strings.IndexByte(`.$/@<>-`, b) >= 0
		}):]
	case ':':
		scheme := before[lastRun(before[:len(before)-1], isWord) : len(before)-1]
		switch {
		case scheme == "file":
			p = "file:" + p
		case scheme == "webpack":
			p = strings.TrimLeft(p, "/")
		case len(scheme) == 1 && unicode.IsLetter(rune(scheme[0])):
			p = scheme + ":" + p
		case strings.HasPrefix(p, "//"), isDigit(p[0]) && strings.Contains(lastWord(before), "//"):
			p = "" // on a web server
		}
	}
	return p, frame
}

// lastWord is s from its last space on.
func lastWord(s string) string { return s[lastRun(s, func(b byte) bool { return b > ' ' }):] }

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || isDigit(b) || b == '_'
}

// lastRun is where the bytes at the end of s for which ok holds begin.
func lastRun(s string, ok func(byte) bool) int {
	i := len(s)
	for i > 0 && len(s)-i < longestPath && ok(s[i-1]) {
		i--
	}
	return i
}

// isSource reports whether the name of p ends as that of a source file does; that keeps hosts with ports and versions
// apart from paths.
func isSource(p string) bool {
	base := p[strings.LastIndexAny(p, `/\:`)+1:]
	dot := strings.LastIndexByte(base, '.')
	if dot <= 0 {
		return false
	}
	switch strings.ToLower(base[dot+1:]) {
	case "go", "py", "pyx", "js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "vue", "svelte", "coffee", "rb", "rake",
		"php", "phpt", "java", "kt", "kts", "scala", "groovy", "clj", "cljs", "cljc", "cs", "fs", "vb", "c", "h", "cc", "cpp",
		"cxx", "hh", "hpp", "hxx", "m", "mm", "swift", "rs", "ex", "exs", "erl", "elm", "hs", "ml", "lua", "pl", "pm", "t", "r",
		"jl", "dart", "zig", "nim", "cr", "sh", "bash", "bats", "sql", "feature", "robot", "tf", "sol":
		return true
	}
	return false
}
