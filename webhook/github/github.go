// Package github is what GitHub says to us: deliveries of the App's webhook, authenticated and decoded.
//
// Payloads are read into structs of our own that hold just what is needed. go-github's fail for every event of a repository
// that has a custom property with several values, and for events it does not know.
// https://docs.github.com/webhooks/webhook-events-and-payloads
package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// Name is the forge's name in the store and in the address of its webhook.
const Name = "github"

// Config says who sends deliveries.
type Config struct {
	Host    string   // github.com, or that of an Enterprise Server
	Web     string   // where people see it, without a slash at the end: https://github.com
	AppID   int64    // the App whose deliveries these are
	Secrets []string // each may have signed a delivery: the current one and, for a while, the one before
	// Matched is told which of the secrets signed a delivery, by its place among them. It may be nil.
	Matched func(secret int)
}

// Verify authenticates a delivery, which is made for our App: by an HMAC of the raw body by one of the secrets.
func (c Config) Verify(h http.Header) (signed func(body []byte) error, err error) {
	if len(c.Secrets) == 0 {
		return nil, webhook.ErrNoSecret
	}
	sent, ok := strings.CutPrefix(h.Get("X-Hub-Signature-256"), "sha256=")
	if !ok {
		return nil, errors.New("the delivery is not signed")
	}
	signature, err := hex.DecodeString(sent)
	if err != nil {
		return nil, errors.New("the signature is no hexadecimal number")
	}
	if len(signature) != sha256.Size {
		return nil, errors.New("the signature is wrong")
	}
	if id := h.Get("X-GitHub-Hook-Installation-Target-ID"); id != "" && id != strconv.FormatInt(c.AppID, 10) {
		return nil, errors.New("the delivery is for another App")
	}
	return func(body []byte) error {
		matched := -1
		for n, secret := range c.Secrets {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(body)
			if hmac.Equal(mac.Sum(nil), signature) && matched < 0 {
				matched = n
			}
		}
		if matched < 0 {
			return errors.New("the signature is wrong")
		}
		if c.Matched != nil {
			c.Matched(matched)
		}
		return nil
	}, nil
}

// Identify gives a delivery's id, which stays when GitHub delivers again, and its event.
func Identify(h http.Header) (id, event string) {
	return h.Get("X-GitHub-Delivery"), h.Get("X-GitHub-Event")
}

// payload is what is read of any event.
type payload struct {
	Action       string
	Installation struct{ ID int64 }
	Repository   *repository
	Sender       user

	// push
	Ref        string
	Before     string
	After      string
	Deleted    bool
	HeadCommit *struct {
		ID      string
		Message string
	} `json:"head_commit"`

	PullRequest *pullRequest `json:"pull_request"`

	// issue_comment
	Issue *struct {
		Number      int
		State       string
		PullRequest *struct{} `json:"pull_request"`
	}
	Comment *struct {
		ID   int64
		Body string
		User user
		App  *struct{ ID int64 } `json:"performed_via_github_app"`
	}

	CheckRun *struct {
		ExternalID string `json:"external_id"`
		App        struct{ ID int64 }
	} `json:"check_run"`
	CheckSuite *struct {
		HeadSHA string `json:"head_sha"`
		App     struct{ ID int64 }
	} `json:"check_suite"`
}

type repository struct {
	ID            int64
	FullName      string `json:"full_name"`
	Private       bool
	DefaultBranch string `json:"default_branch"`
}

type user struct {
	ID    int64
	Login string
	Type  string
}

func (u user) account() store.Account {
	return store.Account{ID: strconv.FormatInt(u.ID, 10), Login: u.Login, Bot: u.Type == "Bot"}
}

type pullRequest struct {
	Number int
	State  string
	Title  string
	User   user
	Head   struct {
		Ref  string
		SHA  string
		Repo *struct{ ID int64 }
	}
	Base struct {
		Ref string
	}
}

func (p *pullRequest) pullRequest() store.PullRequest {
	pr := store.PullRequest{
		Number: p.Number, Open: p.State == "open", Title: p.Title, Author: p.User.account(),
		Head: p.Head.SHA, HeadRef: "refs/heads/" + p.Head.Ref, BaseRef: "refs/heads/" + p.Base.Ref,
	}
	if p.Head.Repo != nil {
		pr.HeadRepo = strconv.FormatInt(p.Head.Repo.ID, 10)
	}
	return pr
}

var fullName = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// Decode says what a delivery means. What is not known, or concerns others, means nothing; that is no error.
func (c Config) Decode(event string, body []byte) (webhook.Event, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return webhook.Event{}, fmt.Errorf("the payload of %s is not what GitHub describes: %w", event, err)
	}
	e := webhook.Event{Sender: p.Sender.account()}
	if r := p.Repository; r != nil && r.ID != 0 {
		if !fullName.MatchString(r.FullName) {
			return e, fmt.Errorf("the payload of %s names the repository %.100q", event, r.FullName)
		}
		// Addresses are made of the configuration and the name: a token must not go where a payload says.
		e.Repo = store.Repo{
			Forge: Name, Host: c.Host, ID: strconv.FormatInt(r.ID, 10), Name: r.FullName,
			CloneURL: c.Web + "/" + r.FullName + ".git", WebURL: c.Web + "/" + r.FullName,
			DefaultBranch: r.DefaultBranch, Private: r.Private, Installation: p.Installation.ID,
		}
	}
	if event == "ping" {
		e.Kind, e.Summary = webhook.Ping, "ping"
		return e, nil
	}
	nothing := func(format string, args ...any) (webhook.Event, error) {
		e.Kind, e.Reason = webhook.Nothing, fmt.Sprintf(format, args...)
		if e.Summary == "" {
			e.Summary = strings.TrimSpace(event + " " + p.Action)
		}
		return e, nil
	}
	decode := map[string]func(*payload, *webhook.Event) string{
		"push": push, "pull_request": pulled, "issue_comment": commented, "check_run": c.checkRun, "check_suite": c.checkSuite,
	}[event]
	if decode == nil {
		return nothing("%s events start nothing", event)
	}
	if e.Repo.ID == "" {
		return nothing("the payload names no repository")
	}
	if reason := decode(&p, &e); reason != "" {
		return nothing("%s", reason)
	}
	return e, nil
}

func push(p *payload, e *webhook.Event) (reason string) {
	e.Kind = webhook.Push
	e.Push = webhook.PushEvent{Ref: p.Ref, Before: p.Before, After: p.After}
	e.Summary = "push to " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")
	if p.After == "" {
		return "the payload names no commit"
	}
	if p.Deleted || strings.Trim(p.After, "0") == "" {
		e.Push.After = ""
		e.Summary = "deletion of " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")
		return ""
	}
	if p.HeadCommit != nil {
		// An annotated tag's after is the tag; the commit stands here.
		e.Push.After, e.Push.Message = p.HeadCommit.ID, p.HeadCommit.Message
	}
	return ""
}

func pulled(p *payload, e *webhook.Event) (reason string) {
	events := map[string]string{
		"opened": store.EventPullRequestCreated, "synchronize": store.EventPullRequestUpdated, "reopened": store.EventPullRequestReopen,
	}
	if p.PullRequest == nil {
		return "the payload names no pull request"
	}
	e.Summary = fmt.Sprintf("pull request %d %s", p.PullRequest.Number, p.Action)
	if e.Event = events[p.Action]; e.Event == "" {
		return fmt.Sprintf("a pull request that is %s starts nothing", p.Action)
	}
	e.Kind, e.PullRequest = webhook.PullRequest, p.PullRequest.pullRequest()
	return ""
}

func commented(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.Issue == nil || p.Comment == nil:
		return "the payload names no comment"
	case p.Action != "created":
		return fmt.Sprintf("a comment that is %s starts nothing", p.Action)
	case p.Issue.PullRequest == nil:
		return "a comment on an issue starts nothing"
	}
	e.Summary = fmt.Sprintf("comment on pull request %d", p.Issue.Number)
	if p.Issue.State != "open" {
		return "the pull request is closed"
	}
	e.Kind = webhook.Comment
	e.Comment = store.Comment{ID: p.Comment.ID, PullRequest: p.Issue.Number, Body: p.Comment.Body, Author: p.Comment.User.account()}
	e.Comment.Author.Bot = e.Comment.Author.Bot || p.Comment.App != nil
	return ""
}

func (c Config) checkRun(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.CheckRun == nil:
		return "the payload names no check run"
	case p.Action != "rerequested":
		return fmt.Sprintf("a check run that is %s starts nothing", p.Action)
	case p.CheckRun.App.ID != c.AppID:
		return "the check run is another App's"
	case p.CheckRun.ExternalID == "":
		return "the check run is not one of ours"
	}
	e.Kind, e.ExternalID, e.Summary = webhook.RerunCheck, buildID(p.CheckRun.ExternalID), "re-run of a check"
	return ""
}

// buildID is the build's part of a check run's external id, which names the phase behind a slash.
func buildID(externalID string) string {
	id, _, _ := strings.Cut(externalID, "/")
	return id
}

func (c Config) checkSuite(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.CheckSuite == nil:
		return "the payload names no check suite"
	case p.Action != "rerequested":
		return fmt.Sprintf("a check suite that is %s starts nothing", p.Action)
	case p.CheckSuite.App.ID != c.AppID:
		return "the check suite is another App's"
	case !store.ValidHash(p.CheckSuite.HeadSHA):
		return "the check suite names no commit"
	}
	e.Kind, e.Commit, e.Summary = webhook.RerunCommit, p.CheckSuite.HeadSHA, "re-run of all checks"
	return ""
}
