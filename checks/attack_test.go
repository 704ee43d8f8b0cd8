package checks

import (
	"regexp"
	"strings"
	"testing"

	"buildsmith/store"

	"github.com/yuin/goldmark/ast"
	gtext "github.com/yuin/goldmark/text"
)

// ours are the elements that the text of a check has by itself.
var ours = regexp.MustCompile(`^(?:</?details>|</?summary>|</?b>|</?code>|<br>|\s)*$`)

// holdOwnMarkdown reports what a Markdown source holds that is not ours: links that lead away, images, elements, mentions.
func holdOwnMarkdown(t *testing.T, name, source string) {
	t.Helper()
	bytes := []byte(source)
	_ = ast.Walk(markdown.Parser().Parse(gtext.NewReader(bytes)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			if !strings.HasPrefix(string(n.Destination), "https://ci.example.org/") {
				t.Errorf("%s: a link to %s", name, n.Destination)
			}
		case *ast.AutoLink:
			t.Errorf("%s: a link to %s", name, n.URL(bytes))
		case *ast.Image:
			t.Errorf("%s: an image of %s", name, n.Destination)
		case *ast.RawHTML:
			if html := string(n.Segments.Value(bytes)); !ours.MatchString(html) {
				t.Errorf("%s: the element %s", name, html)
			}
		case *ast.HTMLBlock:
			if html := string(n.Lines().Value(bytes)); !ours.MatchString(regexp.MustCompile(`>[^<]*<`).ReplaceAllString(html, "><")) {
				t.Errorf("%s: the element %s", name, html)
			}
		case *ast.CodeSpan, *ast.FencedCodeBlock, *ast.CodeBlock:
			return ast.WalkSkipChildren, nil // nobody is mentioned in code
		case *ast.Text:
			if m := mention.FindString(string(n.Segment.Value(bytes))); m != "" && !strings.HasPrefix(m, "#") {
				t.Errorf("%s: %q in %q", name, m, n.Segment.Value(bytes))
			}
		}
		return ast.WalkContinue, nil
	})
}

// TestAttackMarkdown fills everything that an author, a branch, a command or a configuration brings into what a forge is told with texts
// that would like to be more than text.
func TestAttackMarkdown(t *testing.T) {
	checked := 0
	o := options
	o.Statuses, o.SummaryComment = StatusesBeside, true
	for _, s := range hostiles {
		b := many(s)
		b.Reports = b.Reports[:2]
		b.Check, b.Project = "buildsmith ("+s+")", s
		b.Trigger.HeadRef, b.Trigger.Title, b.Trigger.Actor = "refs/heads/"+s, s, store.Account{ID: "1", Login: s}
		b.AskedBy, b.Notes, b.Spec = s, []string{s}, s
		b.Problems = []store.Problem{{Line: 1, Column: 1, Message: s}}
		b.Failure = &store.Failure{Phase: store.PhaseBuild, Command: s, Exit: 1, Tail: []string{s, "```", s}}
		b.Artifacts = &store.Artifacts{Name: s, Files: 1, First: []store.Artifact{{Name: s, SHA256: "x"}}}
		b.Secondary = []store.Artifacts{{ID: "docs", Name: s, Files: 1, First: []store.Artifact{{Name: s}}}}
		b.Exported = []store.Variable{{Name: "A", Value: s}}
		b.Findings = []store.Finding{{Path: "a.go", Line: 1, Level: store.FindingError, Message: s, Tool: s}}
		b.Settings.Environment = &store.Environment{Name: s, Branch: "main"}
		for i := range b.Phases {
			b.Phases[i].Message, b.Phases[i].Code = s, s
			for c := range b.Phases[i].Commands {
				b.Phases[i].Commands[c].Text = s
			}
		}
		notice := store.Notice{ID: "n", Check: b.Check, Conclusion: store.ActionRequired, Title: "Approval needed", Reason: s, Trigger: b.Trigger}
		reports := append(Render(b, o), RenderNotice(&notice, o), RenderSummary(3, b.Trigger.Commit, []store.Build{*b}, []store.Notice{notice}, o),
			RenderSummary(3, b.Trigger.Commit, nil, []store.Notice{notice}, o))
		for _, r := range reports {
			holdOwnMarkdown(t, string(r.Kind)+" "+r.Name, r.Summary)
			if strings.ContainsAny(r.Title, "\x1b\x00\n\r") {
				t.Errorf("%s %s has the title %q", r.Kind, r.Name, r.Title)
			}
			checked++
		}
	}
	if checked < 200 {
		t.Errorf("%d reports", checked)
	}
}
