package github

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"buildsmith/store"
)

// payload is what is read of any event.
type payload struct {
	Action       string
	Installation *installation
	Repository   *repository
	Organization struct{ Login string }
	Sender       user
	Changes      struct {
		Base *struct{} // pull_request edited
	}

	// push
	Ref        string
	Before     string
	After      string
	Deleted    bool
	HeadCommit *struct {
		ID      string
		Message string
	} `json:"head_commit"`
	Commits []struct {
		Added, Modified, Removed []string
	}

	PullRequest *pullRequest `json:"pull_request"`

	// issue_comment
	Issue *struct {
		Number      int
		PullRequest *struct{} `json:"pull_request"`
	}
	Comment *struct {
		ID        int64
		Body      string
		User      user
		CreatedAt stamp               `json:"created_at"`
		App       *struct{ ID int64 } `json:"performed_via_github_app"`
	}

	CheckRun *struct {
		ExternalID string `json:"external_id"`
		HeadSHA    string `json:"head_sha"`
		App        struct{ ID int64 }
	} `json:"check_run"`
	RequestedAction struct{ Identifier string } `json:"requested_action"`
	CheckSuite      *struct {
		HeadSHA string `json:"head_sha"`
		App     struct{ ID int64 }
	} `json:"check_suite"`

	MergeGroup *struct {
		HeadSHA    string                   `json:"head_sha"`
		HeadRef    string                   `json:"head_ref"`
		BaseSHA    string                   `json:"base_sha"`
		BaseRef    string                   `json:"base_ref"`
		HeadCommit struct{ Message string } `json:"head_commit"`
	} `json:"merge_group"`
	Reason string // of merge_group destroyed

	Release *struct {
		TagName string `json:"tag_name"`
		Name    string
		Draft   bool
	}

	// installation, installation_repositories, installation_target
	Account             user
	RepositoriesAdded   []repository `json:"repositories_added"`
	RepositoriesRemoved []repository `json:"repositories_removed"`
}

type repository struct {
	ID            int64
	FullName      string `json:"full_name"`
	Private       bool
	DefaultBranch string `json:"default_branch"`
	PushedAt      stamp  `json:"pushed_at"`
}

type user struct {
	ID    int64
	Login string
	Type  string
}

func (u user) account() store.Account {
	return store.Account{ID: strconv.FormatInt(u.ID, 10), Login: u.Login, Bot: u.Type == "Bot"}
}

type installation struct {
	ID          int64
	Account     user
	Selection   string `json:"repository_selection"`
	Permissions map[string]string
	Events      []string
	SuspendedAt *stamp `json:"suspended_at"`
}

type pullRequest struct {
	Number    int
	State     string
	Title     string
	User      user
	Draft     bool
	Merged    bool
	MergeSHA  string `json:"merge_commit_sha"`
	UpdatedAt stamp  `json:"updated_at"`
	Head      struct {
		Ref  string
		SHA  string
		Repo *struct{ ID int64 }
	}
	Base struct {
		Ref string
		SHA string
	}
}

func (p *pullRequest) pullRequest() store.PullRequest {
	pr := store.PullRequest{
		Number: p.Number, Open: p.State == "open", Title: p.Title, Author: p.User.account(),
		Head: p.Head.SHA, HeadRef: "refs/heads/" + p.Head.Ref, BaseRef: "refs/heads/" + p.Base.Ref, Base: p.Base.SHA, Draft: p.Draft,
		Updated: p.UpdatedAt.Time,
	}
	if p.Merged {
		pr.Merged = p.MergeSHA
	}
	if p.Head.Repo != nil {
		pr.HeadRepo = strconv.FormatInt(p.Head.Repo.ID, 10)
	}
	return pr
}

// A stamp is a time as payloads have it: a text, or in a push the seconds since 1970. What is neither is no time.
type stamp struct{ time.Time }

// UnmarshalJSON reads a stamp.
func (s *stamp) UnmarshalJSON(text []byte) error {
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		s.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	if at := (time.Time{}); bytes.HasPrefix(text, []byte(`"`)) && json.Unmarshal(text, &at) == nil {
		s.Time = at.UTC()
	}
	return nil
}
