// Package finding reads what compilers, linters and test runners said of lines of files in the log of a build.
//
// A log is read once, line by line, from a stream. What colours and moves the cursor is left out first. These forms are
// known:
//
//	gcc, clang and many others   file:line[:column]: error: message
//	go build                     file.go:line:column: message
//	go vet                       vet: file.go:line:column: message
//	golangci-lint                file.go:line:column: message (linter)
//	eslint, stylish              a line with the file, then   line:column  error  message  rule
//	eslint, unix                 file:line:column: message [Error/rule]
//	tsc, and Microsoft's         file(line,column): error TS2322: message
//	tsc, pretty                  file:line:column - error TS2322: message
//	rustc, cargo                 error[E0308]: message, then   --> file:line:column
//	pytest                       file:line: SomeError: message, and FAILED file::test - message
//
// The log is the build's own, so that anything may stand in it: each line counts up to a bound, and so does what is kept.
package finding

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Finding is what was said of a line of a file.
type Finding struct {
	Path    string // relative to the source
	Line    int
	Column  int    // 0 if not known
	Level   string // Error, Warning or Notice
	Message string
	Tool    string // gcc, go vet, eslint, ...; empty if it cannot be told
}

// Levels.
const (
	Error   = "error"
	Warning = "warning"
	Notice  = "notice"
)

// Bounds of what is read and kept.
const (
	Max        = 200       // findings
	MaxMessage = 1000      // runes of a message
	maxBytes   = 128 << 10 // of all paths and messages: they are kept in the record of a build, which is read as a whole
	maxLine    = 4096      // bytes of a line that are looked at
	maxPath    = 500       // bytes
	maxNumber  = 1e7       // of a line or column
	maxKept    = 2_000     // findings of each level, before those of files that are not there go
	maxAlike   = 100       // files of one name that are looked through
)

// A Reader gathers findings from a log.
type Reader struct {
	root  string // where the source lies for the tools, with a slash at the end
	found []Finding
	kept  map[string]int       // how many of each level
	seen  map[Finding]struct{} // without tools
	tests map[[2]string]int    // index in found of a failing test by its file and name
	state                      // of what goes over more than one line
}

// state is what lines before say of those that follow.
type state struct {
	file    string // header of eslint's block
	level   string // of a message that rustc has yet to place
	message string
	waits   int    // lines that rustc's place may still be away
	test    string // whose failure pytest tells of
}

// New gives a reader for a build whose source lay at an absolute path.
func New(root string) *Reader {
	return &Reader{root: strings.TrimRight(root, "/") + "/", kept: map[string]int{}, seen: map[Finding]struct{}{}, tests: map[[2]string]int{}}
}

// Read reads a part of the log to its end. A part need not follow the one before.
func (r *Reader) Read(log io.Reader) error {
	r.state = state{}
	in := bufio.NewReaderSize(log, 64<<10)
	var line []byte
	for {
		chunk, err := in.ReadSlice('\n')
		line = append(line, chunk[:min(len(chunk), maxLine-len(line))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(line) > 0 {
			r.line(plain(line))
			line = line[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// plain is a line without its end, without what a terminal does not show, and without what was written over.
func plain(line []byte) string {
	line = trimEnd(line)
	clean := true
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return string(line)
	}
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case b == '\r':
			out = out[:0]
		case b == 0x1b:
			i = escape(line, i)
		case b >= ' ' && b != 0x7f || b == '\t':
			out = append(out, b)
		}
	}
	return string(out)
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// escape is the index of the last byte of the escape sequence that begins at i.
func escape(line []byte, i int) int {
	if i+1 >= len(line) {
		return i
	}
	switch line[i+1] {
	case '[': // ends with a letter or the like
		for j := i + 2; j < len(line); j++ {
			if line[j] >= 0x40 && line[j] <= 0x7e {
				return j
			}
		}
		return len(line) - 1
	case ']': // a title or an address, up to BEL or ESC \
		for j := i + 2; j < len(line); j++ {
			if line[j] == 0x07 {
				return j
			}
			if line[j] == 0x1b && j+1 < len(line) && line[j+1] == '\\' {
				return j + 1
			}
		}
		return len(line) - 1
	}
	return i + 1
}

// add keeps a finding, if its path may be one of the source and it is new. It gives its index, or -1.
func (r *Reader) add(f Finding) int {
	path, ok := r.relative(f.Path)
	f.Message = message(f.Message)
	if !ok || f.Line < 1 || f.Message == "" || r.kept[f.Level] >= maxKept {
		return -1
	}
	f.Path = path
	key := f
	key.Tool = ""
	if _, twice := r.seen[key]; twice {
		return -1
	}
	r.seen[key] = struct{}{}
	r.kept[f.Level]++
	r.found = append(r.found, f)
	return len(r.found) - 1
}

// relative is a path relative to the source; ok is false for one that lies elsewhere, or is none.
func (r *Reader) relative(p string) (rel string, ok bool) {
	if rest, inside := strings.CutPrefix(p, r.root); inside {
		p = strings.TrimLeft(rest, "/")
	}
	if p == "" || len(p) > maxPath || p[0] == '/' || p[0] == ' ' || p[0] == '~' || !utf8.ValidString(p) {
		return "", false
	}
	letter := false
	for _, c := range p {
		if unicode.IsControl(c) || !unicode.IsPrint(c) {
			return "", false
		}
		letter = letter || unicode.IsLetter(c)
	}
	if !letter || strings.ContainsAny(p, `:\<>|"*?`) {
		return "", false
	}
	parts := make([]string, 0, 8)
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "..":
			return "", false
		case "", ".":
		default:
			parts = append(parts, part)
		}
	}
	rel = strings.Join(parts, "/")
	return rel, rel != "" && rel[0] != ' '
}

// message is text for people: valid, in one line, of a bounded length.
func message(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Bidi_Control, c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.TrimSpace(text)
	n := 0
	for i := range text {
		if n++; n > MaxMessage {
			return text[:i]
		}
	}
	return text
}

// Empty reports whether nothing was found.
func (r *Reader) Empty() bool { return len(r.found) == 0 }

// Findings gives what was found, errors first and else in the order of the log, at most Max and as many as have room. files are the files of the source;
// what was said of others is left out. A path that is the end of just one file's stands for that, since many tools write paths
// relative to a directory that they work in. If files is nil, nothing is known of the files, and any path that looks like one
// counts.
func (r *Reader) Findings(files []string) []Finding {
	if len(r.found) == 0 {
		return nil
	}
	list := make([]Finding, 0, len(r.found))
	meant := places(files, r.found)
	seen := map[Finding]struct{}{}
	for _, f := range r.found {
		if files != nil {
			f.Path = meant[f.Path]
		} else if !strings.ContainsAny(f.Path, "./") {
			f.Path = ""
		}
		key := f
		key.Tool = ""
		if _, twice := seen[key]; twice || f.Path == "" {
			continue
		}
		seen[key] = struct{}{}
		list = append(list, f)
	}
	slices.SortStableFunc(list, func(a, b Finding) int { return weight(a.Level) - weight(b.Level) })
	room := maxBytes
	for i, f := range list {
		if room -= len(f.Path) + len(f.Message); room < 0 || i == Max {
			return list[:i:i]
		}
	}
	return list
}

func weight(level string) int { return slices.Index([]string{Error, Warning, Notice}, level) }

// places gives for each path of findings the file that it means; none for those that mean none, or one of several.
func places(files []string, found []Finding) map[string]string {
	wanted := map[string][]string{} // files by their last component, of those that are asked for
	for _, f := range found {
		wanted[base(f.Path)] = nil
	}
	there := map[string]bool{}
	for _, file := range files {
		name := base(file)
		if alike, asked := wanted[name]; asked {
			there[file] = true
			if len(alike) <= maxAlike {
				wanted[name] = append(alike, file)
			}
		}
	}
	meant := map[string]string{}
	for _, f := range found {
		if _, done := meant[f.Path]; done {
			continue
		}
		if there[f.Path] {
			meant[f.Path] = f.Path
			continue
		}
		only := ""
		alike := wanted[base(f.Path)]
		for _, file := range alike {
			if !strings.HasSuffix(file, "/"+f.Path) {
				continue
			}
			if only != "" {
				only = ""
				break
			}
			only = file
		}
		if len(alike) > maxAlike {
			only = ""
		}
		meant[f.Path] = only
	}
	return meant
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }
