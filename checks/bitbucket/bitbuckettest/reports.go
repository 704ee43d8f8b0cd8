package bitbuckettest

import (
	"context"
	"slices"
	"time"
)

// A Status is a build status of a commit. There is one for each key.
type Status struct {
	Repository  string    `json:"repository"`
	SHA         string    `json:"sha"`
	Key         string    `json:"key"`
	State       string    `json:"state"` // in words of the flavour
	Name        string    `json:"name"`
	Description string    `json:"description"`
	URL         string    `json:"url"`
	Ref         string    `json:"ref"` // refname of Cloud, ref of Data Center
	Parent      string    `json:"parent"`
	BuildNumber string    `json:"build_number"`
	Duration    int64     `json:"duration"` // in ms
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
	User        string    `json:"user"`

	// Tests are the counts of test results, on Data Center: successful, failed, skipped.
	Tests map[string]int `json:"tests"`

	repo *repo
}

// Done reports whether the build has ended.
func (s Status) Done() bool { return s.State != "INPROGRESS" }

// State is a Status in words of neither flavour.
type State struct {
	Name  string `json:"name"`
	State string `json:"state"` // SUCCESSFUL, FAILED, INPROGRESS or STOPPED
	Title string `json:"title"` // the description
	Key   string `json:"key"`
	URL   string `json:"url"`
}

// States returns the build statuses of a commit, or of all commits if none is given, in words of neither flavour.
func (s *Server) States(repo, sha string) []State {
	var list []State
	for _, st := range s.Statuses(repo, sha) {
		if st.State == "CANCELLED" {
			st.State = "STOPPED"
		}
		list = append(list, State{Name: st.Name, State: st.State, Title: st.Description, Key: st.Key, URL: st.URL})
	}
	return list
}

// A Report is one of Code Insights.
type Report struct {
	Repository  string       `json:"repository"`
	SHA         string       `json:"sha"`
	ID          string       `json:"id"` // the key of Data Center
	UUID        string       `json:"uuid"`
	Title       string       `json:"title"`
	Details     string       `json:"details"`
	Type        string       `json:"type"` // of Cloud
	Reporter    string       `json:"reporter"`
	Link        string       `json:"link"`
	LogoURL     string       `json:"logo_url"`
	Result      string       `json:"result"`
	Data        []any        `json:"data"`
	Annotations []Annotation `json:"annotations"`
	Created     time.Time    `json:"created"`
	Updated     time.Time    `json:"updated"`

	repo *repo
}

// An Annotation is one of a report.
type Annotation struct {
	ExternalID string    `json:"external_id"`
	UUID       string    `json:"uuid"`
	Type       string    `json:"type"`
	Summary    string    `json:"summary"` // the message of Data Center
	Details    string    `json:"details"`
	Path       string    `json:"path"`
	Line       int       `json:"line"`
	Severity   string    `json:"severity"`
	Result     string    `json:"result"`
	Link       string    `json:"link"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
}

// setStatusLocked keeps a status; one with the same key it replaces. It reports whether there was none.
func (s *Server) setStatusLocked(r *repo, in Status) (kept *Status, created bool) {
	in.Repository, in.repo, in.Created, in.Updated = s.flavor.fullName(r), r, s.now(), s.now()
	kept = s.statusLocked(r, in.SHA, in.Key)
	if created = kept == nil; created {
		kept = &in
		s.statuses = append(s.statuses, kept)
	} else {
		in.Created = kept.Created
		*kept = in
	}
	if s.reported != nil {
		s.reported(*kept)
	}
	s.wakeLocked()
	return kept, created
}

func (s *Server) statusLocked(r *repo, sha, key string) *Status {
	for _, st := range s.statuses {
		if st.repo == r && st.SHA == sha && st.Key == key {
			return st
		}
	}
	return nil
}

// reportLocked returns a report.
func (s *Server) reportLocked(r *repo, sha, id string) *Report {
	for _, p := range s.reports {
		if p.repo == r && p.SHA == sha && p.ID == id {
			return p
		}
	}
	return nil
}

// setReportLocked keeps a report; one with the same id it replaces, with its annotations as they are.
func (s *Server) setReportLocked(r *repo, in Report) *Report {
	in.Repository, in.repo, in.Created, in.Updated = s.flavor.fullName(r), r, s.now(), s.now()
	kept := s.reportLocked(r, in.SHA, in.ID)
	if kept == nil {
		kept = &in
		s.reports = append(s.reports, kept)
	} else {
		in.Annotations, in.Created, in.UUID = kept.Annotations, kept.Created, kept.UUID
		*kept = in
	}
	s.wakeLocked()
	return kept
}

func (s *Server) deleteReportLocked(gone *Report) {
	s.reports = slices.DeleteFunc(s.reports, func(p *Report) bool { return p == gone })
}

// Statuses returns the build statuses of a commit, or of all commits if none is given, the oldest first.
func (s *Server) Statuses(repo, sha string) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repoLocked(repo)
	var list []Status
	for _, st := range s.statuses {
		if r != nil && st.repo == r && (sha == "" || st.SHA == sha) {
			list = append(list, *st)
		}
	}
	return list
}

// AwaitStatus waits for a build status of a commit that something holds for.
func (s *Server) AwaitStatus(ctx context.Context, repo, sha string, holds func(Status) bool) (found Status, err error) {
	err = s.Await(ctx, func() bool {
		list := s.Statuses(repo, sha)
		i := slices.IndexFunc(list, holds)
		if i >= 0 {
			found = list[i]
		}
		return i >= 0
	})
	return found, err
}

// Reports returns the reports of a commit, or of all commits if none is given, the oldest first.
func (s *Server) Reports(repo, sha string) []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repoLocked(repo)
	var list []Report
	for _, p := range s.reports {
		if r != nil && p.repo == r && (sha == "" || p.SHA == sha) {
			one := *p
			one.Annotations = slices.Clone(p.Annotations)
			list = append(list, one)
		}
	}
	return list
}
