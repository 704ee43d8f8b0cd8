package checks

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"buildsmith/store"
)

// What Options.Statuses may be.
const (
	StatusesOff     = ""        // there are checks alone
	StatusesBeside  = "beside"  // each build has a commit status beside its checks
	StatusesInstead = "instead" // and no checks, where the forge has statuses
)

// ContextCodeBuild as Options.StatusContext makes statuses that have CodeBuild's context and descriptions.
const ContextCodeBuild = "codebuild"

// ContextVariables are the variables that the context of a status may have, as $NAME or ${NAME}: CodeBuild's, and the name of the
// project.
var ContextVariables = []string{"AWS_REGION", "BUILDSMITH_PROJECT", "CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_NUMBER", "CODEBUILD_INITIATOR",
	"CODEBUILD_WEBHOOK_BASE_REF", "CODEBUILD_WEBHOOK_EVENT", "CODEBUILD_WEBHOOK_HEAD_REF", "CODEBUILD_WEBHOOK_TRIGGER"}

// UnknownVariables are those of a context that ContextVariables lacks.
func UnknownVariables(context string) (unknown []string) {
	os.Expand(context, func(name string) string {
		if !slices.Contains(ContextVariables, name) {
			unknown = append(unknown, name)
		}
		return ""
	})
	return unknown
}

// What a status is about.
type subjectOfStatus struct {
	check, project, id string
	number             int
	trigger            *store.Trigger
}

// statusContext is the context of a status: without a setting the name of the check.
func statusContext(s subjectOfStatus, o Options) string {
	switch o.StatusContext {
	case "":
		return checkName(s.check)
	case ContextCodeBuild:
		return checkName(fmt.Sprintf("AWS CodeBuild %s (%s)", cmp.Or(o.Region, "local"), s.project))
	}
	named := false
	text := os.Expand(o.StatusContext, func(name string) string {
		named = named || name == "BUILDSMITH_PROJECT" || name == "CODEBUILD_BUILD_ID"
		return s.variable(name, o)
	})
	// A repository's projects must not have one context in common.
	if suffix := strings.TrimPrefix(s.check, "buildsmith"); !named && suffix != s.check {
		text += suffix
	}
	if text = strings.TrimSpace(Plain(text)); text == "" {
		text = s.check
	}
	return checkName(strings.ReplaceAll(text, "\n", " "))
}

func (s subjectOfStatus) variable(name string, o Options) string {
	t := s.trigger
	switch name {
	case "AWS_REGION":
		return cmp.Or(o.Region, "local")
	case "BUILDSMITH_PROJECT":
		return s.project
	case "CODEBUILD_BUILD_ID":
		return s.project + ":" + s.id
	case "CODEBUILD_BUILD_NUMBER":
		return strconv.Itoa(s.number)
	case "CODEBUILD_INITIATOR":
		return t.Initiator
	case "CODEBUILD_WEBHOOK_BASE_REF":
		return t.BaseRef
	case "CODEBUILD_WEBHOOK_EVENT":
		return t.Event
	case "CODEBUILD_WEBHOOK_HEAD_REF":
		return t.HeadRef
	case "CODEBUILD_WEBHOOK_TRIGGER":
		if t.PullRequest > 0 {
			return "pr/" + strconv.Itoa(t.PullRequest)
		}
		if tag, ok := strings.CutPrefix(t.HeadRef, "refs/tags/"); ok {
			return "tag/" + tag
		}
		return "branch/" + strings.TrimPrefix(t.HeadRef, "refs/heads/")
	}
	return ""
}

// contextOf is the context of a build's or notice's status.
func contextOf(s store.Subject, o Options) string {
	if n := s.Notice; n != nil {
		return statusContext(subjectOfStatus{n.Check, n.Project, n.ID, 0, &n.Trigger}, o)
	}
	b := s.Build
	return statusContext(subjectOfStatus{b.Check, b.Project, b.ID, b.Number, &b.Trigger}, o)
}

// buildStatus is the commit status of a build. It changes with the build's state alone: a forge keeps every one that it was
// told, and takes a thousand.
func buildStatus(b *store.Build, o Options) Report {
	r := Report{Kind: KindStatus, ExternalID: b.ID, Commit: b.Trigger.Commit, URL: o.URL(b.ID, b.Repo), Started: b.Created,
		Name: contextOf(store.Subject{Build: b}, o)}
	r.Status, r.Conclusion = buildState(b)
	if b.Status == store.Fault || b.Status == store.Stopped {
		r.Conclusion = Errored
	}
	if r.Status == Completed {
		r.Completed = b.Ended
	}
	if o.StatusContext == ContextCodeBuild {
		word := "failed"
		switch {
		case r.Status != Completed:
			r.Status, word = InProgress, "started"
		case r.Conclusion == Success:
			word = "succeeded"
		}
		r.Title = "Build " + word + " for project " + b.Project
		return r
	}
	r.Title = title(b)
	return r
}

// noticeStatus is the commit status of a notice: one that waits for a person is pending.
func noticeStatus(n *store.Notice, o Options) Report {
	r := RenderNotice(n, o)
	r.Kind, r.Name = KindStatus, contextOf(store.Subject{Notice: n}, o)
	r.Title = Plain(cmp.Or(n.Title, n.Reason))
	if n.Conclusion == store.SkippedNotice && n.Reason != "" {
		r.Title = Plain(n.Reason)
	}
	r.Summary, r.Actions = "", nil
	return r
}
