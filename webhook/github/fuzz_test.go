package github_test

import (
	"encoding/json"
	"strings"
	"testing"

	"buildsmith/checks/github/githubtest"
	"buildsmith/webhook/webhooktest"
)

// FuzzDecode checks that no payload of any event makes Decode panic, or accept a repository that is another one's address.
func FuzzDecode(f *testing.F) {
	if _, err := githubtest.ExampleEvents(); err != nil {
		f.Skip(err)
	}
	for _, s := range append(published(f), changed(f)...) {
		f.Add(s.Event, s.Body)
	}
	// What no forge sends.
	for _, event := range []string{"", "push", "pull_request", "issue_comment", "check_run", "check_suite", "merge_group", "release", "repository", "installation",
		"installation_repositories", "installation_target", "ping", "PUSH", "push\x00"} {
		for _, body := range []string{"", "null", "[]", "{}", `{"action": 1}`, `{"repository": null, "sender": null}`, `{"repository": {"id": -1, "full_name": "a/b"}}`,
			`{"repository": {"id": 1, "full_name": "a/b"}, "action": "created", "installation": null, "repositories": [null], "comment": {}, "issue": {}, "release": {}}`,
			`{"repository": {"id": 1, "full_name": "a/b"}, "action": "requested_action", "check_run": {"app": {"id": 29310}}, "requested_action": null, "changes": {}}`} {
			f.Add(event, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		e, err := config.Decode(event, body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Error("accepted what is no JSON")
		}
		if _, known := webhooktest.Kinds[e.Kind]; !known {
			t.Errorf("a delivery cannot mean %v", e.Kind)
		}
		if e.Repo.ID != "" && (strings.Contains(e.Repo.Name, "/../") || strings.ContainsAny(e.Repo.CloneURL, " \n@#?")) {
			t.Errorf("repository %+v", e.Repo)
		}
	})
}
