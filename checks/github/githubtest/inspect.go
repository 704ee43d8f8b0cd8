package githubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// CheckRuns returns the check runs of a commit, the oldest first; of all commits of the repository if the commit is empty.
func (s *Server) CheckRuns(fullName, sha string) []CheckRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []CheckRun
	for _, run := range s.runs {
		r := s.repos[s.suites[run.SuiteID].repo]
		if r != nil && strings.EqualFold(r.fullName(), fullName) && (sha == "" || run.HeadSHA == sha) {
			list = append(list, run.clone())
		}
	}
	return list
}

// CheckRun returns the newest check run of a name on a commit.
func (s *Server) CheckRun(fullName, sha, name string) (CheckRun, bool) {
	for _, run := range slices.Backward(s.CheckRuns(fullName, sha)) {
		if run.Name == name {
			return run, true
		}
	}
	return CheckRun{}, false
}

func (c *CheckRun) clone() CheckRun {
	clone := *c
	clone.Annotations, clone.Images = slices.Clone(c.Annotations), slices.Clone(c.Images)
	clone.Actions, clone.History = slices.Clone(c.Actions), slices.Clone(c.History)
	return clone
}

// Completed reports whether a check run is completed: for AwaitCheckRun.
func Completed(c CheckRun) bool { return c.Status == "completed" }

// AwaitCheckRun waits until the newest check run of a name on a commit is as wanted, and returns it.
func (s *Server) AwaitCheckRun(ctx context.Context, fullName, sha, name string, wanted func(CheckRun) bool) (CheckRun, error) {
	var last CheckRun
	err := s.Await(ctx, func() bool {
		run, found := s.CheckRun(fullName, sha, name)
		last = run
		return found && wanted(run)
	})
	if err != nil {
		return last, fmt.Errorf("waiting for the check run %q of %s (now %q %q): %w", name, sha, last.Status, last.Conclusion, err)
	}
	return last, nil
}

// Await waits until something is true. It looks again after each request and each delivery.
func (s *Server) Await(ctx context.Context, holds func() bool) error { return s.news.Await(ctx, holds) }

// changedLocked tells of a check run that has changed.
func (s *Server) changedLocked(run *CheckRun) {
	s.wakeLocked()
	if s.changed != nil {
		s.changed(run.clone())
	}
}

// AddCheckRun adds a check run of another app to a commit, such as that of GitHub Actions, and returns its id. The fields
// that are used are AppID, Name, HeadSHA, Status, Conclusion and Title.
func (s *Server) AddCheckRun(fullName string, c CheckRun) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return 0, err
	}
	if !s.hasCommit(r, c.HeadSHA) {
		return 0, fmt.Errorf("%s has no commit %s", fullName, c.HeadSHA)
	}
	if (c.Status == "completed") != (c.Conclusion != "") {
		return 0, fmt.Errorf("a check run cannot be %q with the conclusion %q", c.Status, c.Conclusion)
	}
	if c.AppID == 0 {
		c.AppID = otherApp
	}
	run := s.newCheckRunLocked(r, c.AppID, c.HeadSHA)
	if c.Status == "" {
		c.Status = "queued"
	}
	in := checkRunInput{Name: &c.Name, Status: &c.Status}
	if c.Conclusion != "" {
		in.Conclusion = &c.Conclusion
	}
	run.Title = c.Title
	s.applyLocked(run, in)
	return run.ID, nil
}

// Comments returns the comments on an issue or a pull request, the oldest first.
func (s *Server) Comments(fullName string, number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Comment
	for _, c := range s.comments {
		if r := s.repos[c.repo]; r != nil && strings.EqualFold(r.fullName(), fullName) && c.Number == number {
			list = append(list, *c)
		}
	}
	return list
}

// Reactions returns the reactions to a comment, the oldest first.
func (s *Server) Reactions(comment int64) []Reaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Reaction
	for _, x := range s.reactions {
		if x.Comment == comment {
			list = append(list, *x)
		}
	}
	return list
}

// Statuses returns the statuses of a commit, the oldest first.
func (s *Server) Statuses(fullName, sha string) []CommitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []CommitStatus
	for _, x := range s.statuses {
		if r := s.repos[x.repo]; r != nil && strings.EqualFold(r.fullName(), fullName) && x.SHA == sha {
			list = append(list, *x)
		}
	}
	return list
}

// Tokens returns the installation tokens that were issued, the oldest first.
func (s *Server) Tokens() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Token
	for _, t := range s.tokenOrder {
		list = append(list, *t)
	}
	return list
}

// Expire lets all tokens that were issued so far expire now.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.Expires = s.now()
	}
}

// Requests returns the API requests so far, the oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests there were of an operation, named as in the description:
// Count("POST", "/repos/{owner}/{repo}/check-runs").
func (s *Server) Count(method, operation string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method && r.Operation == operation {
			n++
		}
	}
	return n
}

// GitAccesses returns the requests of git over HTTP so far, the oldest first.
func (s *Server) GitAccesses() []GitAccess {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accesses)
}

// Deliveries returns the deliveries so far, the oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Delivery
	for _, d := range s.deliveries {
		list = append(list, *d)
	}
	return list
}
