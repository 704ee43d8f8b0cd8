package webhook

import (
	"context"
	"strings"

	"buildsmith/store"
)

// SubjectOf gives what filters look at in a Push, PullRequest, MergeGroup or Release, as far as the delivery tells it: a pull
// request's message and files it does not, nor all files of a large push. Of other kinds no filter that names an event passes.
func SubjectOf(e *Event) Subject {
	s := Subject{Actor: e.Sender.ID, OrganizationName: e.Organization, RepositoryName: e.Repo.Name[strings.LastIndex(e.Repo.Name, "/")+1:]}
	switch e.Kind {
	case Push:
		s.Event, s.HeadRef, s.Message = store.EventPush, e.Push.Ref, given(e.Push.Message)
		if files := e.Push.Files; len(files) > 0 && !e.Push.Truncated {
			s.Files = func(context.Context) ([]string, error) { return files, nil }
		}
	case PullRequest:
		s.Event, s.HeadRef, s.BaseRef = e.Event, e.PullRequest.HeadRef, e.PullRequest.BaseRef
	case MergeGroup:
		// CodeBuild has no word for it. The check of a project that builds pull requests, or pushes, is waited for.
		s.Event, s.Also = store.EventPullRequestUpdated, []string{store.EventPush}
		s.HeadRef, s.BaseRef, s.Message = e.MergeGroup.HeadRef, e.MergeGroup.BaseRef, given(e.MergeGroup.Message)
	case Release:
		s.Event, s.TagName, s.ReleaseName = e.Event, e.Release.Tag, e.Release.Name
	}
	return s
}

// given is a text, nil for the empty one.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
