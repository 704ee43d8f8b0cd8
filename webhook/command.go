package webhook

import (
	"regexp"
	"slices"
	"strings"
)

// A command is a line of a comment that asks for something.
type command struct {
	verb    string
	targets []string
}

// Limits of comments.
const (
	maxComment  = 64 << 10
	maxCommands = 5
)

// prefix addresses this bot; a verb may stand alone too.
const prefix = "buildsmith"

// verbs maps every word for a command to its name. Others are taken when the prefix stands before them, to be told that
// they are unknown.
var verbs = map[string]string{"test": "test", "rerun": "rerun", "retest": "rerun"}

var (
	target      = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,100}$`)
	htmlComment = regexp.MustCompile(`(?s)<!--.*?(-->|$)`)
)

// parseCommands finds the commands of a comment. A command stands on a line of its own, from the first column on. What is
// quoted, code or an HTML comment is no command.
func parseCommands(body string) []command {
	body = body[:min(len(body), maxComment)]
	body = strings.ReplaceAll(body, "\r\n", "\n")
	body = htmlComment.ReplaceAllString(body, "")
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
		if c, ok := parseCommand(line); ok && len(commands) < maxCommands && !slices.ContainsFunc(commands, c.equal) {
			commands = append(commands, c)
		}
	}
	return commands
}

func (c command) equal(other command) bool {
	return c.verb == other.verb && slices.Equal(c.targets, other.targets)
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

func parseCommand(line string) (command, bool) {
	line = strings.TrimRight(line, " \t")
	if !strings.HasPrefix(line, "/") {
		return command{}, false
	}
	words := strings.Fields(line[1:])
	if len(words) == 0 || strings.HasPrefix(line, "/ ") {
		return command{}, false
	}
	addressed := strings.EqualFold(words[0], prefix)
	if addressed {
		if words = words[1:]; len(words) == 0 {
			return command{verb: "help"}, true
		}
	}
	verb, known := verbs[strings.ToLower(words[0])]
	if !known && !addressed {
		return command{}, false
	}
	if !known {
		verb = strings.ToLower(words[0])
	}
	for _, word := range words[1:] {
		if !target.MatchString(word) {
			return command{}, false
		}
	}
	return command{verb: verb, targets: words[1:]}, true
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
