package finding

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// line looks at one line of the log.
func (r *Reader) line(text string) {
	trimmed := strings.TrimSpace(text)
	indented := trimmed != "" && (text[0] == ' ' || text[0] == '\t')
	switch {
	case trimmed == "":
		r.file, r.waits = "", 0
		return
	case r.waits > 0 && r.rustPlace(trimmed):
		return
	case indented && r.file != "" && r.stylish(trimmed):
		return
	case !indented && r.rustMessage(trimmed), r.pytest(trimmed, indented), !indented && r.parenthesised(trimmed), r.positioned(trimmed, indented):
		r.file = ""
		return
	}
	if r.waits > 0 {
		r.waits--
	}
	if !indented {
		r.file = ""
		if header(text) {
			r.file = text
		}
	}
}

// header reports whether a line may be the name of a file above what eslint says of it.
func header(text string) bool {
	dot := strings.LastIndexByte(text, '.')
	return len(text) <= maxPath && dot > strings.LastIndexByte(text, '/') && dot < len(text)-1 && !strings.ContainsAny(text, ":;,()[]{}=\"'") && text[len(text)-1] != ' '
}

// stylish reads "12:5  error  message  rule".
func (r *Reader) stylish(text string) bool {
	line, column, rest, ok := numbers(text, ':')
	if !ok || column == 0 {
		return false
	}
	rest = strings.TrimLeft(rest, " \t")
	level, said, ok := strings.Cut(rest, " ")
	if !ok || level != Error && level != Warning {
		return false
	}
	said = strings.TrimSpace(said)
	if i := strings.LastIndex(said, "  "); i > 0 {
		said = strings.TrimSpace(said[:i]) + " (" + said[i+2:] + ")"
	}
	r.add(Finding{Path: r.file, Line: line, Column: column, Level: level, Message: said, Tool: "eslint"})
	return true
}

// numbers reads a line, a separator and a column from the beginning of text; the column is 0 if there is none.
func numbers(text string, separator byte) (line, column int, rest string, ok bool) {
	line, rest, ok = digits(text)
	if !ok {
		return 0, 0, text, false
	}
	if rest != "" && rest[0] == separator {
		if n, after, ok := digits(rest[1:]); ok {
			return line, n, after, true
		}
	}
	return line, 0, rest, true
}

func digits(text string) (n int, rest string, ok bool) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	if i == 0 || i > 8 {
		return 0, text, false
	}
	n, err := strconv.Atoi(text[:i])
	return n, text[i:], err == nil && n <= maxNumber
}

// rustMessage reads "error[E0308]: message", whose place follows.
func (r *Reader) rustMessage(text string) bool {
	head, said, ok := strings.Cut(text, ": ")
	if !ok || len(head) > 40 {
		return false
	}
	word, code, coded := strings.Cut(head, "[")
	if coded && !strings.HasSuffix(code, "]") {
		return false
	}
	if word != Error && word != Warning {
		return false
	}
	r.level, r.message, r.waits = word, said, 3
	if coded {
		r.message += " (" + strings.TrimSuffix(code, "]") + ")"
	}
	return true
}

// rustPlace reads "--> src/main.rs:1:2".
func (r *Reader) rustPlace(text string) bool {
	place, ok := strings.CutPrefix(text, "--> ")
	if !ok {
		return false
	}
	r.waits = 0
	if path, line, column, rest, ok := position(place); ok && rest == "" {
		r.add(Finding{Path: path, Line: line, Column: column, Level: r.level, Message: r.message, Tool: "rustc"})
	}
	return true
}

// position reads a path, a line and perhaps a column, with a colon between two. No path has a colon.
func position(text string) (path string, line, column int, rest string, ok bool) {
	path, rest, ok = strings.Cut(text, ":")
	if !ok || path == "" {
		return "", 0, 0, text, false
	}
	line, column, rest, ok = numbers(rest, ':')
	return path, line, column, rest, ok && (rest == "" || rest[0] == ':' || rest[0] == ' ')
}

// parenthesised reads "file(12,5): error TS2322: message".
func (r *Reader) parenthesised(text string) bool {
	open := strings.IndexByte(text, '(')
	if open <= 0 {
		return false
	}
	line, column, rest, ok := numbers(text[open+1:], ',')
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, "): ")
	if !ok {
		return false
	}
	level, said, ok := levelOf(rest)
	if !ok {
		return false
	}
	r.add(Finding{Path: text[:open], Line: line, Column: column, Level: level, Message: said, Tool: typescript(said)})
	return true
}

// typescript tells TypeScript by the number of its messages.
func typescript(said string) string {
	if code, found := strings.CutPrefix(said, "TS"); found {
		if _, rest, ok := digits(code); ok && strings.HasPrefix(rest, ": ") {
			return "tsc"
		}
	}
	return ""
}

// levelOf reads the word that tells how bad it is, and gives what follows.
func levelOf(text string) (level, said string, ok bool) {
	for _, word := range []struct{ text, level string }{
		{"error: ", Error}, {"fatal error: ", Error}, {"internal compiler error: ", Error}, {"warning: ", Warning}, {"note: ", Notice},
		{"info: ", Notice}, {"notice: ", Notice}, {"remark: ", Notice},
	} {
		if len(text) >= len(word.text) && strings.EqualFold(text[:len(word.text)], word.text) {
			return word.level, text[len(word.text):], true
		}
	}
	for _, level := range []string{Error, Warning} { // error TS2322: message
		if rest, found := strings.CutPrefix(text, level+" "); found {
			if code, _, ok := strings.Cut(rest, ": "); ok && len(code) < 20 && isCode(code) {
				return level, rest, true
			}
		}
	}
	return "", text, false
}

// isCode reports whether a word is letters and then digits, as the numbers of messages are.
func isCode(word string) bool {
	letters := 0
	for letters < len(word) && (word[letters] >= 'A' && word[letters] <= 'Z') {
		letters++
	}
	_, rest, ok := digits(word[letters:])
	return letters > 0 && letters <= 5 && ok && rest == ""
}

// positioned reads "file:line:column: ..." in the dialects of many tools.
func (r *Reader) positioned(text string, indented bool) bool {
	text, vet := strings.CutPrefix(text, "vet: ")
	path, line, column, rest, ok := position(text)
	if !ok {
		return false
	}
	if said, pretty := strings.CutPrefix(rest, " - "); pretty {
		if level, said, ok := levelOf(said); ok && !indented {
			return r.add(Finding{Path: path, Line: line, Column: column, Level: level, Message: said, Tool: typescript(said)}) >= 0
		}
		return false
	}
	rest, ok = strings.CutPrefix(rest, ": ")
	if !ok {
		return false
	}
	rest = strings.TrimLeft(rest, " ")
	f := Finding{Path: path, Line: line, Column: column, Message: rest, Level: Error}
	suffix := path[strings.LastIndexByte(path, '.')+1:]
	level, said, leveled := levelOf(rest)
	bracketed, unix := eslintLevel(rest)
	switch {
	case vet:
		f.Tool = "go vet"
	case leveled:
		f.Level, f.Message, f.Tool = level, said, compiler(suffix)
	case indented:
		return false
	case unix:
		f.Level, f.Tool = bracketed, "eslint"
	case suffix == "go" && column > 0:
		f.Tool = "go"
		if linted(rest) {
			f.Tool = "golangci-lint"
		}
	case suffix == "py" && column > 0 && startsWithCode(rest): // flake8, ruff
		f.Level = Warning
	default:
		return false
	}
	return r.add(f) >= 0
}

// compiler tells the tool by the kind of file.
func compiler(suffix string) string {
	switch suffix {
	case "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "m", "mm", "C":
		return "gcc"
	case "py":
		return "mypy"
	case "java":
		return "javac"
	}
	return ""
}

// eslintLevel reads the [Error/rule] that eslint's unix format ends with.
func eslintLevel(said string) (level string, ok bool) {
	open := strings.LastIndexByte(said, '[')
	if open < 0 || !strings.HasSuffix(said, "]") {
		return "", false
	}
	switch word, _, _ := strings.Cut(said[open+1:len(said)-1], "/"); word {
	case "Error":
		return Error, true
	case "Warning":
		return Warning, true
	}
	return "", false
}

// linted reports whether a message ends with the name of a linter in brackets.
func linted(said string) bool {
	open := strings.LastIndex(said, " (")
	if open < 0 || !strings.HasSuffix(said, ")") {
		return false
	}
	name := said[open+2 : len(said)-1]
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func startsWithCode(said string) bool {
	code, _, ok := strings.Cut(said, " ")
	return ok && isCode(code)
}

// pytest reads the header of a failing test, the place of its failure, and the line of the summary.
func (r *Reader) pytest(text string, indented bool) bool {
	if !indented && strings.HasPrefix(text, "___") && strings.HasSuffix(text, "___") {
		r.test = strings.TrimSpace(strings.Trim(text, "_"))
		return true
	}
	for _, word := range []string{"FAILED ", "ERROR "} {
		if rest, found := strings.CutPrefix(text, word); found && !indented {
			return r.failed(rest)
		}
	}
	path, line, column, rest, ok := position(text)
	said, colon := strings.CutPrefix(rest, ": ")
	if !ok || !colon || column > 0 || !strings.HasSuffix(path, ".py") {
		return false
	}
	kind, _, _ := strings.Cut(said, ":")
	switch f := (Finding{Path: path, Line: line, Message: said, Tool: "pytest"}); {
	case strings.HasSuffix(kind, "Warning") && isName(kind):
		f.Level = Warning
		r.add(f)
	case !indented && isName(kind) && (strings.HasSuffix(kind, "Error") || strings.HasSuffix(kind, "Exception") || kind == "Failed"):
		f.Level = Error
		if r.test != "" {
			f.Message = r.test + ": " + said
		}
		if i := r.add(f); i >= 0 && r.test != "" {
			r.tests[[2]string{r.found[i].Path, r.test}] = i
		}
	default:
		return false
	}
	return true
}

// isName reports whether text is a name of Python's, with dots.
func isName(text string) bool {
	for _, c := range text {
		if c != '.' && c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return text != "" && utf8.ValidString(text)
}

// failed reads "tests/test_cart.py::TestCart::test_total - assert 1 == 2" of pytest's short summary. It says more of a failure
// whose place came before; one without has no line, and stands on the first.
func (r *Reader) failed(text string) bool {
	id, said, _ := strings.Cut(text, " - ")
	path, name, _ := strings.Cut(id, "::")
	if !strings.HasSuffix(path, ".py") {
		return false
	}
	name = strings.ReplaceAll(name, "::", ".")
	if said == "" {
		said = "failed"
	}
	if name != "" {
		said = name + ": " + said
	}
	rel, ok := r.relative(path)
	if !ok {
		return true
	}
	if i, known := r.tests[[2]string{rel, name}]; known {
		if full := message(said); len(full) > len(r.found[i].Message) {
			r.found[i].Message = full
		}
		return true
	}
	r.add(Finding{Path: path, Line: 1, Level: Error, Message: said, Tool: "pytest"})
	return true
}
