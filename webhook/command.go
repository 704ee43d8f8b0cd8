package webhook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buildsmith/store"
)

// Commands say how commands are written in comments. The zero value takes none: see DefaultCommands.
type Commands struct {
	Prefix string   // a command may begin with a slash and this word
	Bare   bool     // and with a slash and the verb alone
	Bots   []string // logins of bots whose commands are taken
}

// DefaultCommands are those without configuration.
var DefaultCommands = Commands{Prefix: "buildsmith", Bare: true}

// A command is a line of a comment that asks for something.
type command struct {
	verb    string
	targets []string         // names of projects, or all
	hash    string           // of approve and revoke: the beginning of a commit's hash, in small letters
	options []store.Variable // of test
	problem string           // why the line cannot be obeyed, though it is a command
}

// Verbs, by their names.
const (
	verbTest    = "test"
	verbRerun   = "rerun"
	verbCancel  = "cancel"
	verbApprove = "approve"
	verbRevoke  = "revoke"
	verbStatus  = "status"
	verbHelp    = "help"
)

// Limits of comments.
const (
	maxComment  = 64 << 10
	maxCommands = 5
)

// verbs maps every word for a command to its name.
var verbs = map[string]string{
	"test": verbTest, "rerun": verbRerun, "retest": verbRerun, "cancel": verbCancel, "approve": verbApprove, "ok-to-test": verbApprove,
	"revoke": verbRevoke, "status": verbStatus, "help": verbHelp,
}

var (
	target      = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,100}$`)
	shortHash   = regexp.MustCompile(`^[0-9A-Fa-f]{7,40}$`)
	optionKey   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	unknownVerb = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,40}$`)
	htmlComment = regexp.MustCompile(`(?s)<!--.*?(-->|$)`)
	codebuild   = regexp.MustCompile(`^/codebuild_run\(([0-9A-Fa-f]{40})\)$`)
)

// parse finds the commands of a comment. A command stands on a line of its own, from the first column on. What is quoted, code or
// an HTML comment is no command.
func (g Commands) parse(body string) []command {
	body = body[:min(len(body), maxComment)]
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
	body = htmlComment.ReplaceAllString(body, " ") // what stands behind one is not in the first column
	var commands []command
	fence := ""
	for line := range strings.SplitSeq(body, "\n") {
		if fence != "" {
			if t := strings.TrimLeft(line, " "); strings.HasPrefix(t, fence) && strings.Trim(t, fence[:1]+" ") == "" {
				fence = ""
			}
			continue
		}
		if fence = opensFence(line); fence != "" {
			continue
		}
		if c, ok := g.parseLine(line); ok && len(commands) < maxCommands && !slices.ContainsFunc(commands, c.equal) {
			commands = append(commands, c)
		}
	}
	return commands
}

func (c command) equal(other command) bool {
	return c.verb == other.verb && c.hash == other.hash && c.problem == other.problem && slices.Equal(c.targets, other.targets) && slices.Equal(c.options, other.options)
}

// opensFence gives the marker of a fenced block that the line opens, empty if it opens none.
func opensFence(line string) string {
	text := strings.TrimLeft(line, " ")
	if len(line)-len(text) > 3 {
		return ""
	}
	for _, mark := range []string{"`", "~"} {
		n := len(text) - len(strings.TrimLeft(text, mark))
		if n >= 3 && (mark == "~" || !strings.Contains(text[n:], "`")) {
			return text[:n]
		}
	}
	return ""
}

func (g Commands) parseLine(line string) (command, bool) {
	line = strings.TrimRight(line, " \t")
	if m := codebuild.FindStringSubmatch(line); m != nil {
		return command{verb: verbApprove, hash: strings.ToLower(m[1])}, true
	}
	if !strings.HasPrefix(line, "/") || strings.HasPrefix(line, "/ ") || strings.HasPrefix(line, "/\t") {
		return command{}, false
	}
	words, closed := split(line[1:])
	if len(words) == 0 {
		return command{}, false
	}
	addressed := g.Prefix != "" && strings.EqualFold(words[0], g.Prefix)
	if addressed {
		if words = words[1:]; len(words) == 0 {
			return command{verb: verbHelp}, true
		}
	}
	verb, known := verbs[strings.ToLower(words[0])]
	switch {
	case !addressed && (!known || !g.Bare):
		return command{}, false
	case !known && unknownVerb.MatchString(words[0]):
		return command{verb: verbHelp, problem: fmt.Sprintf("`%s` is no command.", words[0])}, true
	case !known:
		return command{verb: verbHelp, problem: "That is no command."}, true
	}
	c := command{verb: verb}
	if !closed {
		c.problem = "A quotation mark is not closed."
		return c, addressed
	}
	for _, word := range words[1:] {
		if !c.take(word) {
			// Prose that begins with a bare verb is no command; one that is addressed to us is one that is wrong.
			if c.problem == "" {
				c.problem = usageOf(verb)
			}
			return c, addressed
		}
	}
	return c, true
}

// take takes an argument, and reports whether the verb has such ones.
func (c *command) take(word string) bool {
	key, value, option := strings.Cut(word, "=")
	switch {
	case c.verb == verbTest && option && optionKey.MatchString(key):
		c.options = append(c.options, store.Variable{Name: key, Value: value})
		return true
	case c.verb == verbApprove || c.verb == verbRevoke:
		if c.hash != "" || !shortHash.MatchString(word) {
			c.problem = "A commit is named by 7 to 40 hexadecimal digits. " + usageOf(c.verb)
			return false
		}
		c.hash = strings.ToLower(word)
		return true
	case c.verb != verbTest && c.verb != verbRerun && c.verb != verbCancel, !target.MatchString(word):
		return false
	}
	c.targets = append(c.targets, word)
	return true
}

// split cuts a line into words. Quotation marks keep blanks in a word; a backslash before one, or before another, stands for it. It
// reports whether all marks are closed.
func split(line string) (words []string, closed bool) {
	var word strings.Builder
	inWord, quoted := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
			i++
			word.WriteByte(line[i])
		case c == '"' && (quoted || strings.HasSuffix(word.String(), "=")):
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, !quoted
}

// usageOf is how a command is written, for people.
func usageOf(verb string) string {
	arguments := map[string]string{verbTest: " [PROJECT...] [NAME=value...]", verbRerun: " [PROJECT...|all]", verbCancel: " [PROJECT...]",
		verbApprove: " COMMIT", verbRevoke: " [COMMIT]"}
	return fmt.Sprintf("It is written `/buildsmith %s%s`.", verb, arguments[verb])
}

// skipTokens keep a push from being built, in the message of its newest commit. They are GitHub's.
// https://docs.github.com/actions/managing-workflow-runs/skipping-workflow-runs
var skipTokens = []string{"[skip ci]", "[ci skip]", "[no ci]"}

var skipTrailer = regexp.MustCompile(`(?im)^skip-checks: *true *$`)

// skips gives what in a commit message asks for no build, empty if nothing does.
func skips(message string) string {
	lower := strings.ToLower(message)
	for _, token := range skipTokens {
		if strings.Contains(lower, token) {
			return token
		}
	}
	if skipTrailer.MatchString(message) {
		return "skip-checks: true"
	}
	return ""
}
