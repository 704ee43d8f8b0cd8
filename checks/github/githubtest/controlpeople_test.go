package githubtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestControlPeople drives from outside what people do at GitHub.
func TestControlPeople(t *testing.T) {
	s, b := newShop(t, Options{Control: true}), newBot(t)
	s.SetHook(b.url)
	post := func(path, body string) any { t.Helper(); return s.control(200, "POST", path, body) }
	is := func(v any, path, want string) {
		t.Helper()
		if got, _ := json.Marshal(at(v, path)); strings.Trim(string(got), `"`) != want {
			t.Errorf("%s is %s, want %s: %v", path, got, want, v)
		}
	}
	action := func(path, body, want string) {
		t.Helper()
		is(post(path, body), "delivery.action", want)
	}
	first := s.sha
	post("commit", `{"repo": "octo/shop", "branch": "feature", "files": {"x": "1"}}`)
	post("commit", `{"repo": "octo/shop", "branch": "release", "files": {"y": "1"}}`)
	post("push", `{"repo": "octo/shop", "ref": "main"}`)
	post("push", `{"repo": "octo/shop", "ref": "release"}`)
	post("pull-request", `{"repo": "octo/shop", "head": "feature"}`)
	action("base", `{"repo": "octo/shop", "number": 1, "base": "release"}`, "edited")
	action("base", `{"repo": "octo/shop", "number": 1, "base": "main"}`, "edited")
	action("retitle", `{"repo": "octo/shop", "number": 1, "title": "T"}`, "edited")
	action("label", `{"repo": "octo/shop", "number": 1, "user": "octo", "label": "l"}`, "labeled")
	action("unlabel", `{"repo": "octo/shop", "number": 1, "user": "octo", "label": "l"}`, "unlabeled")
	action("draft", `{"repo": "octo/shop", "number": 1, "draft": true}`, "converted_to_draft")
	action("draft", `{"repo": "octo/shop", "number": 1}`, "ready_for_review")
	id := at(post("comment", `{"repo": "octo/shop", "number": 1, "user": "octo", "body": "a"}`), "comment.id")
	action("edit-comment", fmt.Sprintf(`{"comment": %v, "user": "octo", "body": "b"}`, id), "edited")
	action("delete-comment", fmt.Sprintf(`{"comment": %v, "user": "octo"}`, id), "deleted")
	group := post("merge-group", `{"repo": "octo/shop", "branch": "main", "pulls": [1]}`)
	is(group, "deliveries.1.action", "checks_requested")
	is(post("destroy-merge-group", fmt.Sprintf(`{"repo": "octo/shop", "ref": %q, "reason": "dequeued"}`, at(group, "merge_group.ref"))), "deliveries.0.action", "destroyed")
	is(post("release", `{"repo": "octo/shop", "tag": "v1", "name": "One", "prerelease": true}`), "deliveries.3.action", "prereleased")
	is(post("delete-tag", `{"repo": "octo/shop", "tag": "v1"}`), "delivery.event", "push")
	post("commit", `{"repo": "octo/shop", "branch": "main", "files": {"z": "1"}}`)
	post("push", `{"repo": "octo/shop", "ref": "main"}`)
	is(post("force-push", `{"repo": "octo/shop", "branch": "main", "sha": "`+first+`"}`), "delivery.status_code", "202")
	is(post("delete-branch", `{"repo": "octo/shop", "branch": "release"}`), "delivery.event", "push")
	post("role", `{"role": "releaser", "base": "write"}`)
	post("permission", `{"repo": "octo/shop", "user": "mona", "role": "releaser"}`)

	action("rename", `{"repo": "octo/shop", "name": "store"}`, "renamed")
	action("archive", `{"repo": "octo/store", "archived": true}`, "archived")
	action("archive", `{"repo": "octo/store"}`, "unarchived")
	action("visibility", `{"repo": "octo/store", "private": false}`, "publicized")
	post("repo", `{"repo": "acme/site", "not_installed": true}`)
	action("install", `{"account": "acme"}`, "created")
	action("remove-repositories", `{"account": "acme", "repositories": ["acme/site"]}`, "removed")
	action("add-repositories", `{"account": "acme", "repositories": ["acme/site"]}`, "added")
	action("suspension", `{"account": "acme", "suspended": true}`, "suspend")
	action("suspension", `{"account": "acme"}`, "unsuspend")
	action("accept-permissions", `{"account": "acme", "permissions": {"metadata": "read", "contents": "read"}}`, "new_permissions_accepted")
	action("rename-account", `{"account": "acme", "login": "apex"}`, "renamed")
	action("transfer", `{"repo": "octo/store", "owner": "apex"}`, "transferred")
	action("delete", `{"repo": "apex/site"}`, "deleted")
	action("uninstall", `{"account": "apex"}`, "deleted")

	post("chaos", `{"seed": 1, "drop": 1, "most": "1ms", "hold": "1ms"}`)
	is(post("ping", `{}`), "delivery.status_code", "0")
	post("chaos", `{}`)
	is(s.control(200, "GET", "mishaps", ""), "0.what", "dropped")
	is(post("redeliver", ""), "redelivered", "1")
	s.control(400, "POST", "chaos", `{"most": "long"}`)
	s.control(400, "POST", "chaos", `{"drop": -1}`)
	s.control(404, "POST", "rename", `{"repo": "octo/none", "name": "x"}`)
}
