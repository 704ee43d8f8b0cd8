package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
	"buildsmith/webhook"
	"buildsmith/webhook/github"
	"buildsmith/webhook/webhooktest"

	"github.com/google/go-cmp/cmp"
)

var config = github.Config{Host: "github.com", Web: "https://github.com", AppID: 29310, Secrets: []string{"new secret", "It's a Secret to Everybody"}}

func TestVerify(t *testing.T) {
	const body = "Hello, World!"
	for _, tt := range []struct {
		signature, target, want string
	}{
		// GitHub's own test vector.
		{"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "", ""},
		{webhooktest.Sign("new secret", body), "29310", ""},
		{webhooktest.Sign("new secret", body), "1", "the delivery is for another App"},
		{webhooktest.Sign("another", body), "29310", "the signature is wrong"},
		{webhooktest.Sign("new secret", body+"x"), "29310", "the signature is wrong"},
		{"", "29310", "the delivery is not signed"},
		{"sha1=aabb", "29310", "the delivery is not signed"},
		{"sha256=", "29310", "the signature is wrong"},
		{"sha256=zz", "29310", "the signature is no hexadecimal number"},
	} {
		h := http.Header{}
		h.Set("X-Hub-Signature-256", tt.signature)
		h.Set("X-GitHub-Hook-Installation-Target-ID", tt.target)
		got := ""
		signed, err := config.Verify(h)
		if err == nil {
			err = signed([]byte(body))
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s for %q: %q, want %q", tt.signature, tt.target, got, tt.want)
		}
	}
	if _, err := (github.Config{}).Verify(http.Header{}); !errors.Is(err, webhook.ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

// TestPublishedPayloads decodes every sample that GitHub publishes: none fails, and those of the events that start something
// mean what they should.
func TestPublishedPayloads(t *testing.T) {
	githubtest.Require(t)
	events, err := githubtest.ExampleEvents()
	if err != nil {
		t.Fatal(err)
	}
	if len(events) < 50 {
		t.Fatalf("only %d events have samples", len(events))
	}
	kinds := map[string]map[webhook.Kind]int{}
	for _, event := range events {
		samples, err := githubtest.Examples(event)
		if err != nil {
			t.Fatal(err)
		}
		kinds[event] = map[webhook.Kind]int{}
		for i, sample := range samples {
			e, err := config.Decode(event, sample)
			if err != nil {
				t.Errorf("%s %d: %v", event, i, err)
				continue
			}
			kinds[event][e.Kind]++
			if e.Summary == "" || e.Kind == webhook.Nothing && e.Reason == "" {
				t.Errorf("%s %d: nothing to tell people: %+v", event, i, e)
			}
			if e.Repo.ID != "" && (!strings.HasPrefix(e.Repo.CloneURL, "https://github.com/") || e.Repo.Forge != "github") {
				t.Errorf("%s %d: repository %+v", event, i, e.Repo)
			}
		}
	}
	for event, want := range map[string]map[webhook.Kind]int{
		"ping": {webhook.Ping: 4},
		"push": {webhook.Push: 7},
		"star": {webhook.Nothing: 3},
	} {
		if diff := cmp.Diff(want, kinds[event]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", event, diff)
		}
	}
	if n := kinds["pull_request"][webhook.PullRequest]; n == 0 || kinds["pull_request"][webhook.Nothing] == 0 {
		t.Errorf("pull_request: %v", kinds["pull_request"])
	}
	for event, of := range kinds {
		for kind := range of {
			if starts := []string{"ping", "push", "pull_request", "issue_comment", "check_run", "check_suite", "merge_group", "release", "repository",
				"installation", "installation_repositories", "installation_target"}; kind != webhook.Nothing && !slices.Contains(starts, event) {
				t.Errorf("%s means %v", event, kind)
			}
		}
	}
}

// payload is a payload of an event with what the test changes.
func payload(change string) string {
	return fmt.Sprintf(`{"installation": {"id": 9}, "sender": {"id": 1, "login": "octocat", "type": "User"},
		"repository": {"id": 7, "full_name": "octo/shop", "private": true, "default_branch": "main", "clone_url": "https://evil.example.org/x.git",
			"custom_properties": {"teams": ["a", "b"]}}, %s}`, change)
}

var repo = store.Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/shop", CloneURL: "https://github.com/octo/shop.git",
	WebURL: "https://github.com/octo/shop", DefaultBranch: "main", Private: true, Installation: 9}

func TestDecode(t *testing.T) {
	a, b, zeros := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("0", 40)
	octocat := store.Account{ID: "1", Login: "octocat"}
	pull := `"number": 12, "pull_request": {"number": 12, "state": "open", "title": "T", "user": {"id": 2, "login": "eve"},
		"head": {"ref": "feature", "sha": "` + a + `", "repo": %s}, "base": {"ref": "main"}}`
	pr := store.PullRequest{Number: 12, Open: true, Title: "T", Author: store.Account{ID: "2", Login: "eve"}, Head: a, HeadRef: "refs/heads/feature", HeadRepo: "7", BaseRef: "refs/heads/main"}
	fork, gone := pr, pr
	fork.HeadRepo, gone.HeadRepo = "8", ""
	merged := pr
	merged.Merged, merged.Updated = b, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	queued := webhook.MergeGroupEvent{Head: a, HeadRef: "refs/heads/gh-readonly-queue/main/pr-1-x", Base: b, BaseRef: "refs/heads/main", Message: "M"}
	comment := func(action, state, on, user string) string {
		return payload(`"action": "` + action + `", "issue": {"number": 12, "state": "` + state + `"` + on + `}, "comment": {"id": 5, "body": "/test", "user": ` + user + `}`)
	}
	onPull := `, "pull_request": {}`
	for _, tt := range []struct {
		name, event, text string
		want              webhook.Event
	}{
		{"push", "push", payload(`"ref": "refs/heads/main", "before": "` + b + `", "after": "` + a + `", "head_commit": {"id": "` + a + `", "message": "M"}`),
			webhook.Event{Kind: webhook.Push, Summary: "push to main", Push: webhook.PushEvent{Ref: "refs/heads/main", Before: b, After: a, Message: "M"}}},
		{"annotated tag", "push", payload(`"ref": "refs/tags/v1", "before": "` + zeros + `", "after": "` + b + `", "head_commit": {"id": "` + a + `", "message": "M"}`),
			webhook.Event{Kind: webhook.Push, Summary: "push to tags/v1", Push: webhook.PushEvent{Ref: "refs/tags/v1", Before: zeros, After: a, Message: "M"}}},
		{"deletion", "push", payload(`"ref": "refs/heads/old", "before": "` + a + `", "after": "` + zeros + `", "deleted": true, "head_commit": null`),
			webhook.Event{Kind: webhook.Push, Summary: "deletion of old", Push: webhook.PushEvent{Ref: "refs/heads/old", Before: a}}},
		{"opened", "pull_request", payload(`"action": "opened", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 opened", Event: "PULL_REQUEST_CREATED", PullRequest: pr}},
		{"synchronize", "pull_request", payload(`"action": "synchronize", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 synchronize", Event: "PULL_REQUEST_UPDATED", PullRequest: pr}},
		{"of a fork", "pull_request", payload(`"action": "reopened", ` + fmt.Sprintf(pull, `{"id": 8}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 reopened", Event: "PULL_REQUEST_REOPENED", PullRequest: fork}},
		{"of a fork that is gone", "pull_request", payload(`"action": "opened", ` + fmt.Sprintf(pull, `null`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 opened", Event: "PULL_REQUEST_CREATED", PullRequest: gone}},
		{"labeled", "pull_request", payload(`"action": "labeled", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Summary: "pull request 12 labeled", Reason: "a pull request that is labeled starts nothing"}},
		{"comment", "issue_comment", comment("created", "open", onPull, `{"id": 2, "login": "eve"}`),
			webhook.Event{Kind: webhook.Comment, Summary: "comment on pull request 12", Comment: store.Comment{ID: 5, PullRequest: 12, Body: "/test", Author: store.Account{ID: "2", Login: "eve"}}}},
		{"bot's comment", "issue_comment", comment("created", "open", onPull, `{"id": 3, "login": "r[bot]", "type": "Bot"}`),
			webhook.Event{Kind: webhook.Comment, Summary: "comment on pull request 12", Comment: store.Comment{ID: 5, PullRequest: 12, Body: "/test", Author: store.Account{ID: "3", Login: "r[bot]", Bot: true}}}},
		{"edited comment", "issue_comment", comment("edited", "open", onPull, `{}`), webhook.Event{Summary: "issue_comment edited", Reason: "a comment that is edited starts nothing"}},
		{"comment on an issue", "issue_comment", comment("created", "open", "", `{}`), webhook.Event{Summary: "issue_comment created", Reason: "a comment on an issue starts nothing"}},
		{"comment on a closed one", "issue_comment", comment("created", "closed", onPull, `{"id": 2}`),
			webhook.Event{Kind: webhook.Comment, Summary: "comment on pull request 12", Comment: store.Comment{ID: 5, PullRequest: 12, Body: "/test", Author: store.Account{ID: "2"}}}},
		{"button", "check_run", payload(`"action": "rerequested", "check_run": {"external_id": "b1/BUILD", "app": {"id": 29310}}`),
			webhook.Event{Kind: webhook.RerunCheck, Summary: "re-run of a check", ExternalID: "b1"}},
		{"another App's button", "check_run", payload(`"action": "rerequested", "check_run": {"external_id": "b1", "app": {"id": 1}}`),
			webhook.Event{Summary: "check_run rerequested", Reason: "the check run is another App's"}},
		{"not ours", "check_run", payload(`"action": "rerequested", "check_run": {"app": {"id": 29310}}`), webhook.Event{Summary: "check_run rerequested", Reason: "the check run is not one of ours"}},
		{"check made", "check_run", payload(`"action": "created", "check_run": {"app": {"id": 29310}}`), webhook.Event{Summary: "check_run created", Reason: "a check run that is created starts nothing"}},
		{"all again", "check_suite", payload(`"action": "rerequested", "check_suite": {"head_sha": "` + a + `", "app": {"id": 29310}}`),
			webhook.Event{Kind: webhook.RerunCommit, Summary: "re-run of all checks", Commit: a}},
		{"another suite", "check_suite", payload(`"action": "rerequested", "check_suite": {"head_sha": "` + a + `", "app": {"id": 1}}`),
			webhook.Event{Summary: "check_suite rerequested", Reason: "the check suite is another App's"}},
		{"suite of no commit", "check_suite", payload(`"action": "rerequested", "check_suite": {"head_sha": "--x", "app": {"id": 29310}}`),
			webhook.Event{Summary: "check_suite rerequested", Reason: "the check suite names no commit"}},
		{"unknown", "dance", payload(`"action": "begun"`), webhook.Event{Summary: "dance begun", Unknown: true, Reason: "dance events start nothing"}},
		{"known to mean nothing", "create", payload(`"ref": "x"`), webhook.Event{Summary: "create", Reason: "create events start nothing"}},
		{"unknown action", "pull_request", payload(`"action": "danced", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Summary: "pull request 12 danced", Unknown: true, Reason: "a pull request that is danced starts nothing"}},
		{"forced, with files", "push", strings.Replace(payload(`"ref": "refs/heads/main", "before": "`+b+`", "after": "`+a+`", "forced": true, "head_commit": {"id": "`+a+`"},
			"commits": [{"added": ["b"], "modified": ["a", "b"], "removed": []}, {"added": [], "modified": [], "removed": ["c"]}]`), `"id": 7,`, `"id": 7, "pushed_at": 1700000000,`, 1),
			webhook.Event{Kind: webhook.Push, At: time.Unix(1700000000, 0).UTC(), Summary: "push to main", Push: webhook.PushEvent{Ref: "refs/heads/main", Before: b, After: a, Files: []string{"a", "b", "c"}}}},
		{"closed", "pull_request", payload(`"action": "closed", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 closed", Event: "PULL_REQUEST_CLOSED", PullRequest: pr}},
		{"merged", "pull_request", payload(`"action": "closed", ` + strings.Replace(fmt.Sprintf(pull, `{"id": 7}`), `"title"`, `"merged": true, "merge_commit_sha": "`+b+`", "updated_at": "2026-05-01T12:00:00Z", "title"`, 1)),
			webhook.Event{Kind: webhook.PullRequest, At: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Summary: "pull request 12 closed", Event: "PULL_REQUEST_MERGED", PullRequest: merged}},
		{"ready", "pull_request", payload(`"action": "ready_for_review", ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 ready_for_review", Event: "PULL_REQUEST_UPDATED", PullRequest: pr}},
		{"another base", "pull_request", payload(`"action": "edited", "changes": {"base": {"ref": {"from": "old"}}}, ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Kind: webhook.PullRequest, Summary: "pull request 12 edited", Event: "PULL_REQUEST_UPDATED", PullRequest: pr}},
		{"another title", "pull_request", payload(`"action": "edited", "changes": {"title": {"from": "old"}}, ` + fmt.Sprintf(pull, `{"id": 7}`)),
			webhook.Event{Summary: "pull request 12 edited", Event: "PULL_REQUEST_UPDATED", Reason: "a pull request whose title or text is edited starts nothing"}},
		{"our button", "check_run", payload(`"action": "requested_action", "requested_action": {"identifier": "approve"}, "check_run": {"external_id": "n1", "head_sha": "` + a + `", "app": {"id": 29310}}`),
			webhook.Event{Kind: webhook.Button, Summary: `button "approve" of a check`, ExternalID: "n1", Commit: a, Action: "approve"}},
		{"merge group", "merge_group", payload(`"action": "checks_requested", "merge_group": {"head_sha": "` + a + `", "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-x", "base_sha": "` + b + `", "base_ref": "refs/heads/main", "head_commit": {"message": "M"}}`),
			webhook.Event{Kind: webhook.MergeGroup, Summary: "merge group for main", MergeGroup: queued}},
		{"merge group gone", "merge_group", payload(`"action": "destroyed", "reason": "merged", "merge_group": {"head_sha": "` + a + `", "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-x", "base_sha": "` + b + `", "base_ref": "refs/heads/main", "head_commit": {"message": "M"}}`),
			webhook.Event{Kind: webhook.MergeGroupGone, Summary: "merge group for main is gone", Reason: "merged", MergeGroup: queued}},
		{"no merge group", "merge_group", payload(`"action": "checks_requested"`), webhook.Event{Summary: "merge_group checks_requested", Reason: "the payload names no merge group"}},
		{"released", "release", payload(`"action": "released", "release": {"tag_name": "v1", "name": "One"}`),
			webhook.Event{Kind: webhook.Release, Summary: "release v1 released", Event: "RELEASED", Release: webhook.ReleaseEvent{Tag: "v1", Name: "One"}}},
		{"prereleased", "release", payload(`"action": "prereleased", "release": {"tag_name": "v1", "name": "One"}`),
			webhook.Event{Kind: webhook.Release, Summary: "release v1 prereleased", Event: "PRERELEASED", Release: webhook.ReleaseEvent{Tag: "v1", Name: "One"}}},
		{"published", "release", payload(`"action": "published", "release": {"tag_name": "v1"}`), webhook.Event{Summary: "release v1 published", Reason: "a release that is published starts nothing"}},
		{"no release", "release", payload(`"action": "released"`), webhook.Event{Summary: "release released", Reason: "the payload names no release"}},
		{"renamed", "repository", payload(`"action": "renamed"`), webhook.Event{Kind: webhook.RepoChanged, Summary: "repository renamed", Change: "renamed"}},
		{"edited", "repository", payload(`"action": "edited"`), webhook.Event{Summary: "repository edited", Reason: "a repository that is edited starts nothing"}},
		{"no pull request", "pull_request", payload(`"action": "opened"`), webhook.Event{Summary: "pull_request opened", Reason: "the payload names no pull request"}},
		{"no comment", "issue_comment", payload(`"action": "created"`), webhook.Event{Summary: "issue_comment created", Reason: "the payload names no comment"}},
		{"no check run", "check_run", payload(`"action": "rerequested"`), webhook.Event{Summary: "check_run rerequested", Reason: "the payload names no check run"}},
		{"no check suite", "check_suite", payload(`"action": "rerequested"`), webhook.Event{Summary: "check_suite rerequested", Reason: "the payload names no check suite"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.Decode(tt.event, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Repo, tt.want.Sender = repo, octocat
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	const noCommit = `{"ref": "refs/heads/main", "repository": {"id": 7, "full_name": "a/b"}}`
	if e, err := config.Decode("push", []byte(noCommit)); err != nil || e.Kind == webhook.Push || e.Reason != "the payload names no commit" {
		t.Errorf("a push of nothing: %+v %v", e, err)
	}
	if e, err := config.Decode("push", []byte(`{}`)); err != nil || e.Reason != "the payload names no repository" {
		t.Errorf("%+v %v", e, err)
	}
}

func TestDecodeInstallations(t *testing.T) {
	const of = `"sender": {"id": 1, "login": "octocat"}, "installation": {"id": 9, "account": {"id": 3, "login": "octo"}, "repository_selection": "selected",
		"permissions": {"checks": "write"}, "events": ["push"], "suspended_at": %s}`
	octo := store.Installation{Forge: "github", Host: "github.com", ID: 9, Account: "octo", Selection: "selected", Granted: map[string]string{"checks": "write"}, Events: []string{"push"}}
	suspended, renamed := octo, octo
	suspended.Suspended, renamed.Account = true, "hexa"
	shop := store.Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/shop", CloneURL: "https://github.com/octo/shop.git", WebURL: "https://github.com/octo/shop", Private: true, Installation: 9}
	for _, tt := range []struct {
		event, text string
		want        webhook.Event
	}{
		{"installation", `{"action": "created", ` + fmt.Sprintf(of, "null") + `}`,
			webhook.Event{Kind: webhook.InstallationChanged, Summary: "installation in octo: created", Change: "created", Installation: octo}},
		{"installation", `{"action": "suspend", ` + fmt.Sprintf(of, `"2026-05-01T12:00:00Z"`) + `}`,
			webhook.Event{Kind: webhook.InstallationChanged, Summary: "installation in octo: suspend", Change: "suspend", Installation: suspended}},
		{"installation_repositories", `{"action": "removed", "repositories_removed": [{"id": 7, "full_name": "octo/shop", "private": true}, {"id": 8, "full_name": "../x"}], ` + fmt.Sprintf(of, "null") + `}`,
			webhook.Event{Kind: webhook.InstallationChanged, Summary: "installation in octo: removed", Change: "removed", Installation: octo, Removed: []store.Repo{shop}}},
		{"installation_target", `{"action": "renamed", "account": {"login": "hexa"}, ` + fmt.Sprintf(of, "null") + `}`,
			webhook.Event{Kind: webhook.InstallationChanged, Summary: "installation in hexa: renamed", Change: "renamed", Installation: renamed}},
		{"installation", `{"action": "danced", ` + fmt.Sprintf(of, "null") + `}`,
			webhook.Event{Summary: "installation in octo: danced", Unknown: true, Reason: "an installation that is danced changes nothing here", Installation: octo}},
		{"installation", `{"action": "created", "sender": {"id": 1, "login": "octocat"}}`, webhook.Event{Summary: "installation created", Reason: "the payload names no installation"}},
	} {
		got, err := config.Decode(tt.event, []byte(tt.text))
		tt.want.Sender = store.Account{ID: "1", Login: "octocat"}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%.60s (-want +got)\n%s%v", tt.text, diff, err)
		}
	}
}

func TestUnreadablePayloads(t *testing.T) {
	for text, want := range map[string]string{
		"":   "the payload of push is not what GitHub describes: unexpected end of JSON input",
		"[]": "the payload of push is not what GitHub describes: json: cannot unmarshal array",
		`{"repository": {"id": 7, "full_name": "../../etc"}}`:      `the payload of push names the repository "../../etc"`,
		`{"repository": {"id": 7, "full_name": "a/b.git#@x.org"}}`: `the payload of push names the repository "a/b.git#@x.org"`,
	} {
		if _, err := config.Decode("push", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestIdentify(t *testing.T) {
	h := http.Header{}
	h.Set("X-GitHub-Delivery", "72d3162e")
	h.Set("X-GitHub-Event", "push")
	if id, event := github.Identify(h); id != "72d3162e" || event != "push" {
		t.Errorf("%q %q", id, event)
	}
}
