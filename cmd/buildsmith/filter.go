package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"buildsmith/webhook"
	frombitbucket "buildsmith/webhook/bitbucket"
	fromgithub "buildsmith/webhook/github"

	"github.com/spf13/cobra"
)

func filterCommand() *cobra.Command {
	c := &filtering{}
	cmd := &cobra.Command{
		Use:   "filter FILE EVENT.json",
		Short: "Tell whether filter groups build an event, and why",
		Long: `Tell what filter groups say of a payload of GitHub's or Bitbucket's: each group, each of its
filters, and what decided. Nothing is asked of a forge or a server. docs/filters.md tells about
the filters.

FILE is a configuration of buildsmith's, or what AWS prints of a CodeBuild project: all of it, the
project, its webhook, or the list of groups, as JSON or YAML. EVENT.json is a payload of push,
pull_request, merge_group or release, or one of Bitbucket's; that of a pull request of Bitbucket
Cloud does not show what happened: name it, as in --event pullrequest:created. One of the two may
be -, standard input.

The changed files of a push stand in its payload unless it is large. Those of a pull request do
not, nor does the message of its newest commit: the server asks the forge, this command asks you.

Exit status: 0 the event builds, 1 it does not, 2 invalid filters or usage, 3 a file cannot be read.`,
		Example: `  buildsmith filter config.yml push.json
  buildsmith filter config.yml --project shop pull_request.json --files-from changed.txt
  buildsmith filter config.yml --json push.json
  aws codebuild batch-get-projects --names shop | buildsmith filter - push.json --files docs/a.md,src/b.go`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.in, c.out, c.errors = cmd.InOrStdin(), plainWriter{cmd.OutOrStdout()}, plainWriter{cmd.ErrOrStderr()}
			c.filesGiven, c.messageGiven = cmd.Flags().Changed("files"), cmd.Flags().Changed("message")
			if c.filesFrom != "" && c.filesGiven {
				return usage(errors.New("--files and --files-from stand both; keep one"))
			}
			c.filesGiven = c.filesGiven || c.filesFrom != ""
			return c.run(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().StringVar(&c.project, "project", "", "which project's filters, if several have some")
	cmd.Flags().StringVar(&c.event, "event", "", "name of the payload's event, if it does not show")
	cmd.Flags().StringSliceVar(&c.files, "files", nil, "the changed files, between commas")
	cmd.Flags().StringVar(&c.filesFrom, "files-from", "", "file with a changed file on each line, - for standard input")
	cmd.Flags().StringVar(&c.message, "message", "", "message of the newest commit")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// A filtering is one run of the command.
type filtering struct {
	in          io.Reader
	out, errors io.Writer

	project, event, message, filesFrom string
	files                              []string
	filesGiven, messageGiven, json     bool
}

func (c *filtering) run(ctx context.Context, file, payload string) error {
	if n := len(slices.DeleteFunc([]string{file, payload, c.filesFrom}, func(name string) bool { return name != "-" })); n > 1 {
		return usage(errors.New("standard input is one file alone"))
	}
	text, err := c.read(file)
	if err != nil {
		return fault(err)
	}
	filters, warnings, err := readFilters(named(file), text, c.project)
	if err != nil {
		return usage(err)
	}
	for _, warning := range warnings {
		fmt.Fprintln(c.errors, "warning:", warning)
	}
	if text, err = c.read(payload); err != nil {
		return fault(err)
	}
	event, err := c.decode(named(payload), text)
	if err != nil {
		return err
	}
	var v webhook.Verdict
	subject := webhook.SubjectOf(&event)
	switch event.Kind {
	case webhook.Push, webhook.PullRequest, webhook.MergeGroup, webhook.Release:
		if err := c.complete(&subject, event.Kind); err != nil {
			return err
		}
		if v, err = filters.Decide(ctx, &subject); err != nil {
			return usage(err)
		}
	default:
		v.Reason = unasked(&event)
	}
	if subject.Message == nil && looksAt(v, webhook.FilterMessage) {
		fmt.Fprintln(c.errors, "note: the payload does not tell the message of the newest commit; give it with --message")
	}
	print := printVerdict
	if c.json {
		print = printVerdictJSON
	}
	if err := print(c.out, &event, &subject, &v); err != nil {
		return fault(fmt.Errorf("printing the verdict: %w", err))
	}
	if !v.Build {
		return exit(exitFailed)
	}
	return nil
}

// unasked says why an event is none for filters.
func unasked(e *webhook.Event) string {
	if e.Kind == webhook.Nothing && e.Reason != "" {
		return "The filters are not asked: " + e.Reason + "."
	}
	return "The filters are not asked: the delivery (" + e.Summary + ") starts nothing."
}

// read gives the text of a file, or of standard input.
func (c *filtering) read(name string) ([]byte, error) {
	const most = 32 << 20 // a delivery has at most 25 MiB
	from := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s has more than %d bytes", named(name), most)
	}
	return text, err
}

// named is a file as it is told of.
func named(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// filteredEvents are the events whose payloads filters can look at.
var filteredEvents = []string{"push", "pull_request", "merge_group", "release"}

// decode reads a payload.
func (c *filtering) decode(name string, text []byte) (e webhook.Event, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return e, fault(fmt.Errorf("%s is no payload, which is a JSON object: %w", name, err))
	}
	event := c.event
	if event == "" {
		event = recognise(keys)
	}
	if strings.Contains(event, ":") {
		return c.decodeBucket(name, event, text)
	}
	switch {
	case event == "":
		return e, usage(fmt.Errorf("%s shows no event that filters look at; name it with --event: %s", name, strings.Join(filteredEvents, ", ")))
	case !slices.Contains(filteredEvents, event):
		return e, usage(fmt.Errorf("--event %s is none of %s", event, strings.Join(filteredEvents, ", ")))
	}
	if e, err = (fromgithub.Config{Host: "github.com", Web: "https://github.com"}).Decode(event, text); err != nil {
		return e, fault(fmt.Errorf("%s: %w", name, err))
	}
	return e, nil
}

// bucketEvents are those of Bitbucket: Cloud's, and then a Data Center's.
var bucketEvents = []string{
	"repo:push", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected",
	"repo:refs_changed", "pr:opened", "pr:reopened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted",
}

// decodeBucket reads a payload of Bitbucket's. Of a push of several refs it is the first.
func (c *filtering) decodeBucket(name, event string, text []byte) (e webhook.Event, err error) {
	if !slices.Contains(bucketEvents, event) {
		return e, usage(fmt.Errorf("--event %s is none of Bitbucket's that filters look at: %s", event, strings.Join(bucketEvents, ", ")))
	}
	from := frombitbucket.Config{Name: "bitbucket", Host: cloudHost, Web: "https://" + cloudHost, DataCenter: event == "repo:refs_changed" || strings.HasPrefix(event, "pr:")}
	if e, err = from.Decode(event, text); err != nil {
		return e, fault(fmt.Errorf("%s: %w", name, err))
	}
	if n := len(e.Also); n > 0 {
		fmt.Fprintf(c.errors, "note: the push is of %d refs; this is about the first\n", n+1)
	}
	return e, nil
}

// recognise gives the event of a payload by its keys, empty if they are not those of just one.
func recognise(keys map[string]json.RawMessage) string {
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { _, ok := keys[name]; return !ok })
	}
	switch {
	case has("eventKey"): // of a Data Center
		var event string
		if json.Unmarshal(keys["eventKey"], &event) == nil && slices.Contains(bucketEvents, event) {
			return event
		}
	case has("push", "repository", "actor"):
		return "repo:push"
	case has("merge_group"):
		return "merge_group"
	case has("release"):
		return "release"
	case has("pull_request", "number", "action"): // those of its reviews and comments have no number
		return "pull_request"
	case has("ref", "before", "after"):
		return "push"
	}
	return ""
}

// complete gives a subject what the payload does not tell.
func (c *filtering) complete(s *webhook.Subject, kind webhook.Kind) error {
	if kind == webhook.Release {
		if c.filesGiven || c.messageGiven {
			return usage(errors.New("a release has no changed files and no message; leave --files, --files-from and --message out"))
		}
		return nil
	}
	if c.messageGiven {
		s.Message = &c.message
	}
	files := c.files
	if c.filesFrom != "" {
		text, err := c.read(c.filesFrom)
		if err != nil {
			return fault(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				files = append(files, line)
			}
		}
	}
	switch {
	case c.filesGiven:
		s.Files = func(context.Context) ([]string, error) { return files, nil }
	case s.Files == nil:
		s.Files = func(context.Context) ([]string, error) {
			return nil, errors.New("the payload does not tell all of them; give them with --files or --files-from")
		}
	}
	return nil
}

// looksAt reports whether a verdict has a filter of a type.
func looksAt(v webhook.Verdict, kind string) bool {
	return slices.ContainsFunc(v.Groups, func(g webhook.GroupVerdict) bool {
		return slices.ContainsFunc(g.Filters, func(f webhook.FilterVerdict) bool { return f.Type == kind })
	})
}

// printVerdict prints a line for each filter, below one for its group, and at last what comes of it.
func printVerdict(out io.Writer, e *webhook.Event, s *webhook.Subject, v *webhook.Verdict) error {
	var text strings.Builder
	if s.Event != "" {
		fmt.Fprintf(&text, "%s: %s\n", strings.Join(append([]string{s.Event}, s.Also...), " and "), e.Summary)
	}
	for g, group := range v.Groups {
		outcome := "does not pass"
		if group.Passed {
			outcome = "passes"
		}
		fmt.Fprintf(&text, "group %d %s\n", g+1, outcome)
		for _, f := range group.Filters {
			mark := "no"
			if f.Passed {
				mark = "yes"
			} else if f.Unseen {
				mark = "-"
			}
			fmt.Fprintf(&text, "  %-3s  %-17s  %s\n", mark, f.Type, f.Why)
		}
	}
	switch {
	case v.Group > 0:
		fmt.Fprintf(&text, "builds: group %d\n", v.Group)
	case v.Build:
		fmt.Fprintf(&text, "%s\nbuilds\n", v.Reason)
	case len(v.Groups) == 0:
		fmt.Fprintf(&text, "%s\ndoes not build\n", v.Reason)
	default:
		text.WriteString("does not build\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// A verdictJSON is a verdict as machines are told it.
type verdictJSON struct {
	Builds bool        `json:"builds"`
	Group  int         `json:"group,omitempty"`
	Events []string    `json:"events"`
	Reason string      `json:"reason"`
	Groups []groupJSON `json:"groups"`
}

type groupJSON struct {
	Passed  bool         `json:"passed"`
	Filters []filterJSON `json:"filters"`
}

type filterJSON struct {
	Type    string `json:"type"`
	Pattern string `json:"pattern"`
	Exclude bool   `json:"excludeMatchedPattern"`
	Tried   bool   `json:"tried"`
	Passed  bool   `json:"passed"`
	Why     string `json:"why"`
}

func printVerdictJSON(out io.Writer, _ *webhook.Event, s *webhook.Subject, v *webhook.Verdict) error {
	told := verdictJSON{Builds: v.Build, Group: v.Group, Events: []string{}, Reason: v.Reason, Groups: []groupJSON{}}
	if s.Event != "" {
		told.Events = append([]string{s.Event}, s.Also...)
	}
	for _, group := range v.Groups {
		g := groupJSON{Passed: group.Passed}
		for _, f := range group.Filters {
			g.Filters = append(g.Filters, filterJSON{f.Type, f.Pattern, f.Exclude, !f.Unseen, f.Passed, f.Why})
		}
		told.Groups = append(told.Groups, g)
	}
	return printJSON(out, told)
}
