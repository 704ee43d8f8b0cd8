package checks

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"buildsmith/store"
)

// maxSummary is how many characters a summary may have: GitHub's limit.
const maxSummary = 65_535

// limit cuts a summary that is too long, and says that it did. It cuts between lines, and closes a block of code that it has cut:
// what is left shows what it did before.
func limit(summary string) string {
	const mark = "\n… cut: the page behind this check has all of it."
	if utf8.RuneCountInString(summary) <= maxSummary {
		return summary
	}
	runes := []rune(summary)
	room := maxSummary - utf8.RuneCountInString(mark)
	head := string(runes[:room])
	for {
		head = head[:strings.LastIndexByte(head, '\n')+1]
		fence := openFence(head)
		if head == "" || utf8.RuneCountInString(head)+len(fence) <= room {
			return head + fence + mark
		}
		head = strings.TrimSuffix(head, "\n")
	}
}

// openFence is what closes the fenced block at the end of a text, with its line end; empty if none is open.
func openFence(s string) string {
	open := 0
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\n")
		n := len(line) - len(strings.TrimLeft(line, "`"))
		switch {
		case open == 0 && n >= 3 && !strings.Contains(line[n:], "`"):
			open = n
		case open > 0 && n >= open && n == len(line):
			open = 0
		}
	}
	if open == 0 {
		return ""
	}
	return strings.Repeat("`", open) + "\n"
}

// special are the characters that mean something in Markdown, and those that GitHub finds references by after it: they get
// a joiner that nobody sees.
var special = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "&", "&amp;", "|", "\\|",
	"#", "\\#"+joiner, "@", "@"+joiner, "!", "\\!", "~", "\\~", "$", "\\$", "://", ":"+joiner+"//", "\r", "", "\n", " ", "\t", " ")

const joiner = "\u200d"

var (
	// atStart is what makes a list, a heading or a rule of a line that begins with it.
	atStart = regexp.MustCompile(`^([-+=]|\d{1,9}[.)])`)
	// linked is what becomes a link without any mark.
	linked = regexp.MustCompile(`(?i)(\bwww|\bgh)([.-])`)
)

// text is what somebody else wrote, as Markdown that shows it and does nothing: no link, no image, no mention, no list.
func text(s string) string {
	s = linked.ReplaceAllString(special.Replace(strings.TrimSpace(Plain(s))), "$1"+joiner+"$2")
	if m := atStart.FindString(s); m != "" {
		s = m[:len(m)-1] + "\\" + s[len(m)-1:]
	}
	return s
}

// code is text between backquotes, fit for a table.
func code(s string) string {
	s = strings.NewReplacer("\n", " ⏎ ", "\r", "", "|", "¦").Replace(Plain(s))
	fence := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || s == "" {
		s = " " + s + " "
	}
	return fence + s + fence
}

// block is text in a fenced block that it cannot leave.
func block(lines []string) string {
	body := Plain(strings.Join(lines, "\n"))
	fence := strings.Repeat("`", max(3, longestRun(body)+1))
	return fence + "text\n" + body + "\n" + fence + "\n"
}

func longestRun(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// escapes are the sequences by which programs colour their output, and others.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\|$)|[PX^_][^\x1b]*(\x1b\\|$)|[ -/]*[0-~])`)

// Plain is text without escape sequences, control characters and marks that turn the direction of writing, for where nobody
// may be deceived. Of a line that was written over, the last writing stays.
func Plain(s string) string {
	s = escapes.ReplaceAllString(s, "")
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		lines[i] = line[strings.LastIndexByte(line, '\r')+1:]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.Join(lines, "\n"))
}

// duration is a time span for people.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

func phaseWord(phase string) string { return strings.ToLower(phase) }

func statusWord(s store.Status) string {
	switch s {
	case store.Succeeded:
		return "Succeeded"
	case store.Failed:
		return "Failed"
	case store.Fault:
		return "Internal error"
	case store.TimedOut:
		return "Timed out"
	case store.Stopped:
		return "Stopped"
	}
	return "Running"
}

// headline is what became of a build, in a sentence.
func headline(b *store.Build) string {
	h := b.Headline()
	switch {
	case h == nil:
		return statusWord(b.Status) + "."
	case h.Message == "":
		return fmt.Sprintf("%s %s.", h.Type, strings.ToLower(statusWord(h.Status)))
	}
	return fmt.Sprintf("%s: %s", h.Type, h.Message)
}

// title is a build in a few words.
func title(b *store.Build) string {
	switch {
	case b.Queued():
		return "Waiting for a slot"
	case !b.Done():
		return "Running"
	case b.Status == store.Succeeded:
		return withTests(b, "Succeeded in "+duration(b.Ended.Sub(b.Created)))
	}
	h := b.Headline()
	if h == nil {
		return statusWord(b.Status)
	}
	if f := b.Failure; f != nil && h.Type == f.Phase && b.Status == store.Failed {
		return withTests(b, fmt.Sprintf("Failed in %s: exit status %d", h.Type, f.Exit))
	}
	if b.Status == store.Fault {
		return "Internal error in " + h.Type
	}
	return statusWord(b.Status) + " in " + h.Type
}

// withTests says how many tests failed, if any did. A build may succeed all the same: its commands decide.
func withTests(b *store.Build, title string) string {
	if failed := testsFailed(b); failed != "" {
		title += "; " + failed
	}
	return title
}

// summary is a build in Markdown: its phases, its reports, what failed, what it left. So many remarks are not annotated
// for want of room.
func summary(b *store.Build, o Options, unannotated int) string {
	page := o.URL(b.ID, b.Repo)
	var s, rest strings.Builder
	for _, note := range b.Notes {
		s.WriteString("**Note:** " + text(cut(Plain(note), shownNote)) + "\n\n")
	}
	switch {
	case b.Queued():
		s.WriteString("The build waits for a free slot.\n\n")
	case b.Done() && b.Status != store.Succeeded:
		s.WriteString(text(cut(headline(b), shownReason)) + "\n\n")
		if b.Status == store.Fault {
			s.WriteString("This is a fault of the build server, not of the commit.")
			if b.RerunBy != "" {
				s.WriteString(" The build is being repeated.")
			}
			s.WriteString("\n\n")
		}
	}
	phaseTable(&s, b)
	reportTable(&s, b, page, func(build string) string { return o.URL(build, b.Repo) })
	if len(b.Problems) > 0 {
		s.WriteString("\n### Buildspec\n\n")
		for _, p := range b.Problems {
			word := "error"
			if p.Warning {
				word = "warning"
			}
			fmt.Fprintf(&s, "- %s line %d: %s: %s\n", code(b.Spec), p.Line, word, text(p.Message))
		}
	}
	if b.Failure != nil {
		s.WriteString(failure(b.Failure))
	}
	if unannotated > 0 {
		fmt.Fprintf(&rest, "\n%d more remarks on lines have no annotation: a check has %d at most.\n", unannotated, maxAnnotations)
	}
	artifacts(&rest, b, page)
	fmt.Fprintf(&rest, "\n[Log and details](%s)\n", page)
	room := maxSummary - utf8.RuneCountInString(s.String()) - utf8.RuneCountInString(rest.String())
	return limit(s.String() + reportSections(b, page, max(room, minSections)) + rest.String())
}

func phaseTable(s *strings.Builder, b *store.Build) {
	s.WriteString("| Phase | Status | Duration |\n|---|---|---|\n")
	for _, p := range b.Phases {
		if p.Type == store.PhaseCompleted {
			continue
		}
		took := ""
		if !p.End.IsZero() {
			took = duration(p.End.Sub(p.Start))
		}
		fmt.Fprintf(s, "| %s | %s | %s |\n", p.Type, p.Status, took)
	}
	if b.Done() {
		for _, phase := range b.Skeleton {
			if b.Phase(phase) == nil {
				fmt.Fprintf(s, "| %s | not run | |\n", phase)
			}
		}
	}
}

// commandTable lists the commands of a phase.
func commandTable(p *store.Phase) string {
	if len(p.Commands) == 0 {
		return ""
	}
	var s strings.Builder
	s.WriteString("| Command | Exit status | Duration |\n|---|---|---|\n")
	for _, c := range p.Commands {
		line := c.Text
		if runes := []rune(line); len(runes) > 200 {
			line = string(runes[:200]) + "…"
		}
		exit := strconv.Itoa(c.Exit)
		if c.Exit < 0 { // nobody knows: the build ended first
			exit = "broken off"
		}
		fmt.Fprintf(&s, "| %s | %s | %s |\n", code(line), exit, duration(c.End.Sub(c.Start)))
	}
	if len(p.Commands) == store.MaxCommands {
		s.WriteString("\nFurther commands are in the log.\n")
	}
	return s.String()
}

func failure(f *store.Failure) string {
	s := fmt.Sprintf("\n### The command that failed\n\n%s\n\nended with exit status %d in %s.", block(strings.Split(f.Command, "\n")), f.Exit, f.Phase)
	if len(f.Tail) > 0 {
		s += fmt.Sprintf(" The last lines of its output:\n\n%s", block(f.Tail))
	}
	return s + "\n"
}

// Below is the address of a page below a build's page, and carries its key on.
func Below(page, path string) string {
	base, query, _ := strings.Cut(page, "?")
	if query != "" {
		path += "?" + query
	}
	return base + "/" + path
}

func artifacts(s *strings.Builder, b *store.Build, page string) {
	if b.Artifacts == nil && len(b.Secondary) == 0 {
		return
	}
	s.WriteString("\n### Artifacts\n\n")
	if a := b.Artifacts; a != nil {
		fmt.Fprintf(s, "[All %d files as %s](%s), %s, SHA-256 `%s`\n\n", a.Files, code(a.Name+".zip"), Below(page, "artifacts.zip"), size(a.Size), a.SHA256)
		s.WriteString("| File | Size | SHA-256 |\n|---|---|---|\n")
		for _, f := range a.First {
			fmt.Fprintf(s, "| [%s](%s) | %s | `%s` |\n", text(f.Name), Below(page, "artifacts/"+escapePath(f.Name)), size(f.Size), f.SHA256)
		}
		if more := a.Files - len(a.First); more > 0 {
			fmt.Fprintf(s, "\nand %d more.\n", more)
		}
	}
	if len(b.Secondary) == 0 {
		return
	}
	s.WriteString("\n| Secondary artifacts | Files | Size | SHA-256 |\n|---|---|---|---|\n")
	for i := range b.Secondary {
		a := &b.Secondary[i]
		fmt.Fprintf(s, "| [%s](%s) | %d | %s | `%s` |\n", code(cut(a.ID+": "+a.Name+".zip", shownName)), Below(page, "secondary/"+escapePath(a.ID)+"/artifacts.zip"), a.Files, size(a.Size), a.SHA256)
	}
}

// escapePath is a path for a link in Markdown.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = strings.NewReplacer("(", "%28", ")", "%29").Replace(url.PathEscape(p))
	}
	return strings.Join(parts, "/")
}
