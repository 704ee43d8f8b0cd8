package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks/github/githubtest"
	"buildsmith/webhook"
)

// Payloads of tests, with what is read of them.
const (
	pushPayload = `{"ref": "refs/heads/main", "before": "1111111111111111111111111111111111111111", "after": "2222222222222222222222222222222222222222",
		"head_commit": {"id": "2222222222222222222222222222222222222222", "message": "fix the door"}, "commits": [],
		"repository": {"id": 1, "full_name": "octo/shop"}, "sender": {"id": 91234, "login": "ann"}}`
	pullRequestPayload = `{"action": "opened", "number": 7, "pull_request": {"number": 7, "state": "open", "user": {"id": 5, "login": "bob"},
		"head": {"ref": "dev", "sha": "2222222222222222222222222222222222222222", "repo": {"id": 1}}, "base": {"ref": "main"}},
		"repository": {"id": 1, "full_name": "octo/shop"}, "sender": {"id": 5, "login": "bob"}}`
)

// filterFiles are the files that the command finds in its directory.
var filterFiles = map[string]string{
	"push.json":   pushPayload,
	"pull.json":   pullRequestPayload,
	"assign.json": strings.Replace(pullRequestPayload, "opened", "assigned", 1),
	"files.json":  strings.Replace(pushPayload, `"commits": []`, `"commits": [{"added": ["docs/a.md"], "modified": [], "removed": []}, {"added": [], "modified": ["docs/b.md"], "removed": ["src/c.go"]}]`, 1),
	"queue.json": `{"action": "checks_requested", "merge_group": {"head_sha": "2222222222222222222222222222222222222222", "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-1111111111111111111111111111111111111111",
		"base_sha": "1111111111111111111111111111111111111111", "base_ref": "refs/heads/main", "head_commit": {"message": "merge"}}, "repository": {"id": 1, "full_name": "octo/shop"}, "sender": {"id": 5, "login": "bob"}}`,
	"release.json": `{"action": "released", "release": {"tag_name": "v1.2", "name": "Spring", "draft": false, "prerelease": false}, "repository": {"id": 1, "full_name": "octo/shop"}, "sender": {"id": 5, "login": "bob"}}`,
	"tags.yml":     "- - {type: EVENT, pattern: \"RELEASED, PRERELEASED\"}\n  - {type: TAG_NAME, pattern: ^v}\n",
	"ping.json":    `{"zen": "Speak like a human.", "hook_id": 1}`,
	"list.json":    `[]`,
	"text.json":    `nothing`,
	"name.json":    strings.Replace(pushPayload, "octo/shop", "octo/../shop", 1),
	"changed":      "docs/a.md\r\n\ndocs/b c.md\n",
	"empty.yml":    "# nothing\n",
	"broken.yml":   "a: b: c\n",
	"wrong.yml":    "projects:\n  - name: shop\n    filter-groups:\n      - - {type: HEAD_REF, pattern: (}\n",
	"two.yml":      "github: {app-id: 1, private-key: {file: /none}}\nprojects:\n  - {name: shop, filter-groups: [[{type: EVENT, pattern: RELEASED}]]}\n  - {name: store, filter-groups: [[{type: EVENT, pattern: PUSH}]]}\n  - {name: free}\n",
	"one.yml":      "projects:\n  - {name: shop, filter-groups: [[{type: EVENT, pattern: PUSH}, {type: ACTOR_ACCOUNT_ID, pattern: 123}]]}\n  - {name: free}\n",
	"free.yml":     "projects: [{name: a1}, {name: b1}]\n",
	"none.yml":     "listen: 127.0.0.1:80\n",
	"groups.yml":   "- - {type: EVENT, pattern: \"PUSH, PULL_REQUEST_CREATED\"}\n  - {type: HEAD_REF, pattern: '^refs/heads/(?!main$).*'}\n- - {type: EVENT, pattern: PUSH}\n",
	"docs.yml":     "- - {type: EVENT, pattern: \"PUSH, PULL_REQUEST_CREATED\"}\n  - {type: FILE_PATH_ALL, pattern: ^docs/, exclude-matched-pattern: true}\n",
	"skip.yml":     "- - {type: EVENT, pattern: \"PUSH, PULL_REQUEST_CREATED, RELEASED\"}\n  - {type: COMMIT_MESSAGE, pattern: '\\[skip ci\\]', exclude-matched-pattern: true}\n",
	"badlist":      "[[PUSH]]\n",
	"aws.json":     `{"projects": [{"name": "shop", "arn": "arn:aws:codebuild:x", "source": {"type": "GITHUB"}, "webhook": {"url": "u", "filterGroups": [[{"type": "EVENT", "pattern": "PUSH", "excludeMatchedPattern": false}, {"type": "HEAD_REF", "pattern": "^refs/heads/main$", "excludeMatchedPattern": true}]]}}], "projectsNotFound": []}`,
	"open.json":    `{"projects": [{"name": "shop", "arn": "arn:aws:codebuild:x"}]}`,
	"shop.json":    `{"name": "shop", "webhook": {"filterGroups": [[{"type": "EVENT", "pattern": "PULL_REQUEST_CREATED"}]], "buildType": "BUILD"}}`,
	"hook.json":    `{"filterGroups": [[{"type": "EVENT", "pattern": "PUSH"}]], "branchFilter": null}`,
	"branch.json":  `{"name": "shop", "webhook": {"branchFilter": "^main$"}}`,
	"awsbad.json":  `{"webhook": {"filterGroups": [[{"kind": "EVENT"}]]}}`,
	"awsnone.json": `{"projects": [{"name": "shop", "arn": "x", "webhook": {"filterGroups": [[{"type": "BRANCH", "pattern": "PUSH"}]]}}]}`,
}

// filterRun runs the command in a directory with the files, and standard input.
func filterRun(t *testing.T, stdin string, args ...string) (out, errs string, status int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range filterFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var printed, told bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(append([]string{"filter"}, args...))
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&printed)
	cmd.SetErr(&told)
	err := cmd.ExecuteContext(t.Context())
	with := &statusError{}
	switch {
	case err == nil:
	case !errors.As(err, &with):
		t.Fatalf("an error without a status: %v", err)
	case !with.silent:
		told.WriteString(err.Error() + "\n")
	}
	return printed.String(), told.String(), with.status
}

func TestFilterCommand(t *testing.T) {
	const unanchored = "warning: group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern 123 is searched for anywhere and has neither ^ nor $, so it matches more than it says; write ^(?:...)$ around it, or longer ids pass too\n"
	for _, tt := range []struct {
		name, stdin string
		args        []string
		status      int
		out, errs   string
	}{
		{"a configuration", "", []string{"one.yml", "push.json"}, 0,
			"PUSH: push to main\ngroup 1 passes\n  yes  EVENT              EVENT PUSH is among PUSH\n  yes  ACTOR_ACCOUNT_ID   ACTOR_ACCOUNT_ID \"91234\" matches 123\nbuilds: group 1\n", unanchored},
		{"the second group", "", []string{"groups.yml", "push.json"}, 0,
			"PUSH: push to main\ngroup 1 does not pass\n  yes  EVENT              EVENT PUSH is among PUSH, PULL_REQUEST_CREATED\n" +
				"  no   HEAD_REF           HEAD_REF \"refs/heads/main\" does not match ^refs/heads/(?!main$).*\n" +
				"group 2 passes\n  yes  EVENT              EVENT PUSH is among PUSH\nbuilds: group 2\n", ""},
		{"a project of several", "", []string{"two.yml", "push.json", "--project", "shop"}, 1,
			"PUSH: push to main\ngroup 1 does not pass\n  no   EVENT              EVENT PUSH is not among RELEASED\ndoes not build\n", ""},
		{"one without filters", "", []string{"two.yml", "push.json", "--project", "free"}, 0,
			"PUSH: push to main\nThere are no filters, and without them PUSH builds.\nbuilds\n", ""},
		{"an event that starts nothing", "", []string{"groups.yml", "assign.json"}, 1,
			"The filters are not asked: a pull request that is assigned starts nothing.\ndoes not build\n", ""},
		{"AWS, as it prints projects", "", []string{"aws.json", "push.json"}, 1,
			"PUSH: push to main\ngroup 1 does not pass\n  yes  EVENT              EVENT PUSH is among PUSH\n" +
				"  no   HEAD_REF           HEAD_REF \"refs/heads/main\" matches the excluded ^refs/heads/main$\ndoes not build\n", ""},
		{"AWS, through standard input", filterFiles["aws.json"], []string{"-", "pull.json"}, 1,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 does not pass\n  no   EVENT              EVENT PULL_REQUEST_CREATED is not among PUSH\n" +
				"  yes  HEAD_REF           HEAD_REF \"refs/heads/dev\" does not match the excluded ^refs/heads/main$\ndoes not build\n", ""},
		{"AWS, a project without a webhook", "", []string{"open.json", "push.json"}, 0, "PUSH: push to main\nThere are no filters, and without them PUSH builds.\nbuilds\n", ""},
		{"AWS, a project", "", []string{"shop.json", "pull.json", "--project", "shop"}, 0,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 passes\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PULL_REQUEST_CREATED\nbuilds: group 1\n", ""},
		{"AWS, a webhook; the payload through standard input", pushPayload, []string{"hook.json", "-", "--event", "push"}, 0,
			"PUSH: push to main\ngroup 1 passes\n  yes  EVENT              EVENT PUSH is among PUSH\nbuilds: group 1\n", ""},
		{"the files of a push", "", []string{"docs.yml", "files.json"}, 0,
			"PUSH: push to main\ngroup 1 passes\n  yes  EVENT              EVENT PUSH is among PUSH, PULL_REQUEST_CREATED\n" +
				"  yes  FILE_PATH_ALL      FILE_PATH_ALL \"src/c.go\" does not match the excluded ^docs/\nbuilds: group 1\n", ""},
		{"a merge group", "", []string{"groups.yml", "queue.json"}, 0,
			"PULL_REQUEST_UPDATED and PUSH: merge group for main\ngroup 1 passes\n  yes  EVENT              EVENT PUSH is among PUSH, PULL_REQUEST_CREATED\n" +
				"  yes  HEAD_REF           HEAD_REF \"refs/heads/gh-readonly-queue/main/pr-7-1111111111111111111111111111111111111111\" matches ^refs/heads/(?!main$).*\n" +
				"group 2 passes\n  yes  EVENT              EVENT PUSH is among PUSH\nbuilds: group 1\n", ""},
		{"a release", "", []string{"tags.yml", "release.json"}, 0,
			"RELEASED: release v1.2 released\ngroup 1 passes\n  yes  EVENT              EVENT RELEASED is among RELEASED, PRERELEASED\n" +
				"  yes  TAG_NAME           TAG_NAME \"v1.2\" matches ^v\nbuilds: group 1\n", ""},
		{"a release, without filters", "", []string{"open.json", "release.json"}, 1,
			"RELEASED: release v1.2 released\nThere are no filters, and without them only PUSH, PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED build, not RELEASED.\ndoes not build\n", ""},
		{"changed files", "", []string{"docs.yml", "pull.json", "--files", "docs/a.md,src/b.go"}, 0,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 passes\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PUSH, PULL_REQUEST_CREATED\n" +
				"  yes  FILE_PATH_ALL      FILE_PATH_ALL \"src/b.go\" does not match the excluded ^docs/\nbuilds: group 1\n", ""},
		{"from a file", "", []string{"docs.yml", "pull.json", "--files-from", "changed"}, 1,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 does not pass\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PUSH, PULL_REQUEST_CREATED\n" +
				"  no   FILE_PATH_ALL      each of the changed files (2) matches the excluded ^docs/\ndoes not build\n", ""},
		{"from standard input", "docs/a.md", []string{"docs.yml", "push.json", "--files-from", "-"}, 1,
			"PUSH: push to main\ngroup 1 does not pass\n  yes  EVENT              EVENT PUSH is among PUSH, PULL_REQUEST_CREATED\n" +
				"  no   FILE_PATH_ALL      each of the changed files (1) matches the excluded ^docs/\ndoes not build\n", ""},
		{"no changed files", "", []string{"docs.yml", "pull.json", "--files", ""}, 0,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 passes\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PUSH, PULL_REQUEST_CREATED\n" +
				"  yes  FILE_PATH_ALL      no file was changed\nbuilds: group 1\n", ""},
		{"no message", "", []string{"skip.yml", "pull.json"}, 0,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 passes\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PUSH, PULL_REQUEST_CREATED, RELEASED\n" +
				"  yes  COMMIT_MESSAGE     the event has no COMMIT_MESSAGE\nbuilds: group 1\n", "note: the payload does not tell the message of the newest commit; give it with --message\n"},
		{"a message", "", []string{"skip.yml", "pull.json", "--message", "fix \x1b[31m[skip ci]"}, 1,
			"PULL_REQUEST_CREATED: pull request 7 opened\ngroup 1 does not pass\n  yes  EVENT              EVENT PULL_REQUEST_CREATED is among PUSH, PULL_REQUEST_CREATED, RELEASED\n" +
				"  no   COMMIT_MESSAGE     COMMIT_MESSAGE \"fix \\x1b[31m[skip ci]\" matches the excluded \\[skip ci\\]\ndoes not build\n", ""},

		{"files that nobody tells", "", []string{"docs.yml", "pull.json"}, 2, "", "looking at the changed files: the payload does not tell all of them; give them with --files or --files-from\n"},
		{"files twice", "", []string{"docs.yml", "pull.json", "--files", "a", "--files-from", "changed"}, 2, "",
			"--files and --files-from stand both; keep one\n"},
		{"standard input twice", "", []string{"-", "-"}, 2, "", "standard input is one file alone\n"},
		{"several projects", "", []string{"two.yml", "push.json"}, 2, "", "several projects of two.yml have filters; name one with --project: shop, store\n"},
		{"no filters at all", "", []string{"free.yml", "push.json"}, 2, "", "no project of free.yml has filters; name one with --project: a1, b1\n"},
		{"no projects", "", []string{"none.yml", "push.json"}, 2, "", "none.yml has no project\n"},
		{"another project", "", []string{"two.yml", "push.json", "--project", "tools"}, 2, "", "two.yml has no project tools; it has shop, store, free\n"},
		{"a project of a list", "", []string{"groups.yml", "push.json", "--project", "tools"}, 2, "", "--project is for files that name projects; leave it out\n"},
		{"invalid filters", "", []string{"wrong.yml", "push.json"}, 2, "",
			"wrong.yml:4: projects.shop.filter-groups[0]: the group has no filter of the type EVENT, which every group needs\n" +
				"wrong.yml:4: projects.shop.filter-groups[0][0]: the pattern of HEAD_REF is no regular expression: missing closing ) in `(`\n"},
		{"AWS, of no known type", "", []string{"awsnone.json", "push.json"}, 2, "",
			"awsnone.json:1: filterGroups[0]: the group has no filter of the type EVENT, which every group needs\n" +
				"awsnone.json:1: filterGroups[0][0]: \"BRANCH\" is no type of filters; known are EVENT, ACTOR_ACCOUNT_ID, HEAD_REF, BASE_REF, FILE_PATH, FILE_PATH_ALL, COMMIT_MESSAGE, TAG_NAME, RELEASE_NAME, REPOSITORY_NAME, ORGANIZATION_NAME, WORKFLOW_NAME\n"},
		{"a wrong key", "", []string{"awsbad.json", "push.json"}, 2, "", "awsbad.json:1: \"kind\" does not belong to a filter; known here: type, pattern, exclude-matched-pattern\n"},
		{"a list of something else", "", []string{"badlist", "push.json"}, 2, "",
			"badlist:1: a filter has the keys type, pattern, exclude-matched-pattern; write lists of filters such as {type: EVENT, pattern: PUSH} into a list\n"},
		{"a branch filter", "", []string{"branch.json", "push.json"}, 2, "",
			"branch.json: the webhook has a branchFilter, CodeBuild's older form; write a group of EVENT and HEAD_REF instead\n"},
		{"nothing in it", "", []string{"empty.yml", "push.json"}, 2, "", "empty.yml is empty\n"},
		{"no YAML", "", []string{"broken.yml", "push.json"}, 2, "", "broken.yml:1: mapping values are not allowed in this context\n"},
		{"an unknown payload", "", []string{"groups.yml", "ping.json"}, 2, "", "ping.json shows no event that filters look at; name it with --event: push, pull_request, merge_group, release\n"},
		{"another event", "", []string{"groups.yml", "push.json", "--event", "issues"}, 2, "", "--event issues is none of push, pull_request, merge_group, release\n"},
		{"no such filters", "", []string{"gone.yml", "push.json"}, 3, "", "open gone.yml: no such file or directory\n"},
		{"no such payload", "", []string{"groups.yml", "gone.json"}, 3, "", "open gone.json: no such file or directory\n"},
		{"no such list", "", []string{"docs.yml", "pull.json", "--files-from", "gone"}, 3, "", "open gone: no such file or directory\n"},
		{"a payload that is a list", "", []string{"groups.yml", "list.json"}, 3, "",
			"list.json is no payload, which is a JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage\n"},
		{"a payload that is no JSON", "", []string{"groups.yml", "text.json"}, 3, "",
			"text.json is no payload, which is a JSON object: invalid character 'o' in literal null (expecting 'u')\n"},
		{"a hostile name", "", []string{"groups.yml", "name.json"}, 3, "", "name.json: the payload of push names the repository \"octo/../shop\"\n"},
		{"too large", strings.Repeat(" ", 33<<20), []string{"groups.yml", "-"}, 3, "", "standard input has more than 33554432 bytes\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := filterRun(t, tt.stdin, tt.args...)
			if out != tt.out || errs != tt.errs || status != tt.status {
				t.Errorf("status %d, want %d\n%s%s\nwant\n%s%s", status, tt.status, out, errs, tt.out, tt.errs)
			}
		})
	}
}

// TestFilterJSON reads what machines are told.
func TestFilterJSON(t *testing.T) {
	out, _, status := filterRun(t, "", "docs.yml", "push.json", "--json", "--files", "docs/a.md")
	const want = `{
  "builds": false,
  "events": [
    "PUSH"
  ],
  "reason": "No filter group passes: in group 1 each of the changed files (1) matches the excluded ^docs/.",
  "groups": [
    {
      "passed": false,
      "filters": [
        {
          "type": "EVENT",
          "pattern": "PUSH, PULL_REQUEST_CREATED",
          "excludeMatchedPattern": false,
          "tried": true,
          "passed": true,
          "why": "EVENT PUSH is among PUSH, PULL_REQUEST_CREATED"
        },
        {
          "type": "FILE_PATH_ALL",
          "pattern": "^docs/",
          "excludeMatchedPattern": true,
          "tried": true,
          "passed": false,
          "why": "each of the changed files (1) matches the excluded ^docs/"
        }
      ]
    }
  ]
}
`
	if out != want || status != 1 {
		t.Errorf("status %d, %s", status, out)
	}
	out, _, status = filterRun(t, "", "groups.yml", "assign.json", "--json")
	if want := "{\n  \"builds\": false,\n  \"events\": [],\n  \"reason\": \"The filters are not asked: a pull request that is assigned starts nothing.\",\n  \"groups\": []\n}\n"; out != want || status != 1 {
		t.Errorf("status %d, %s", status, out)
	}
}

// TestFilterSubject completes what payloads tell: flags come first, and a release has neither files nor a message.
func TestFilterSubject(t *testing.T) {
	files := func(s webhook.Subject) string {
		if s.Files == nil {
			return "none"
		}
		list, err := s.Files(t.Context())
		if err != nil {
			return err.Error()
		}
		return strings.Join(list, " ")
	}
	const untold = "the payload does not tell all of them; give them with --files or --files-from"
	given := filtering{files: []string{"c"}, filesGiven: true, message: "given", messageGiven: true}
	for _, tt := range []struct {
		name        string
		c           filtering
		event       webhook.Event
		files, said string
		err         string
	}{
		{"a push", filtering{}, webhook.Event{Kind: webhook.Push, Push: webhook.PushEvent{Files: []string{"a", "b"}, Message: "fix"}}, "a b", "fix", ""},
		{"a large push", filtering{}, webhook.Event{Kind: webhook.Push, Push: webhook.PushEvent{Files: []string{"a"}, Truncated: true}}, untold, "", ""},
		{"a push with flags", given, webhook.Event{Kind: webhook.Push, Push: webhook.PushEvent{Files: []string{"a", "b"}, Message: "fix"}}, "c", "given", ""},
		{"a merge group", filtering{}, webhook.Event{Kind: webhook.MergeGroup, MergeGroup: webhook.MergeGroupEvent{Message: "merge"}}, untold, "merge", ""},
		{"a release", filtering{}, webhook.Event{Kind: webhook.Release}, "none", "", ""},
		{"a release with flags", given, webhook.Event{Kind: webhook.Release}, "none", "", "a release has no changed files and no message; leave --files, --files-from and --message out"},
	} {
		s, said, problem := webhook.SubjectOf(&tt.event), "", ""
		if err := tt.c.complete(&s, tt.event.Kind); err != nil {
			problem = err.Error()
		}
		if s.Message != nil {
			said = *s.Message
		}
		if got := files(s); got != tt.files || said != tt.said || problem != tt.err {
			t.Errorf("%s: %s, %q, %s", tt.name, got, said, problem)
		}
	}
	if got := unasked(&webhook.Event{Kind: webhook.MergeGroupGone, Reason: "merged", Summary: "merge group for main is gone"}); got != "The filters are not asked: the delivery (merge group for main is gone) starts nothing." {
		t.Error(got)
	}
}

// TestRecognise tells the events of all payloads that GitHub publishes: those of the events that filters look at, and of no other.
func TestRecognise(t *testing.T) {
	githubtest.Require(t)
	events, err := githubtest.ExampleEvents()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	for _, event := range events {
		samples, err := githubtest.Examples(event)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, name := range filteredEvents {
			if name == event {
				want = name
			}
		}
		for i, sample := range samples {
			var keys map[string]json.RawMessage
			if err := json.Unmarshal(sample, &keys); err != nil {
				t.Fatal(err)
			}
			if got := recognise(keys); got != want {
				t.Errorf("sample %d of %s is taken for %q", i, event, got)
			}
			known[want]++
		}
	}
	if known["push"] == 0 || known["pull_request"] == 0 || known["release"] == 0 {
		t.Errorf("samples: %v", known)
	}
}
