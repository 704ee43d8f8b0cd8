package bitbucket_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
	"buildsmith/webhook"
	"buildsmith/webhook/bitbucket"
	"buildsmith/webhook/webhooktest"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

func TestVerify(t *testing.T) {
	const body = "Hello World!"
	for _, tt := range []struct {
		signature, want string
		matched         int
	}{
		// Bitbucket's own test vector.
		{"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9", "", 1},
		{webhooktest.Sign("new secret", body), "", 0},
		{webhooktest.Sign("another", body), "the signature is wrong", -1},
		{webhooktest.Sign("new secret", body+"x"), "the signature is wrong", -1},
		{"", "the delivery is not signed", -1},
		{"sha1=aabb", "the delivery is not signed", -1}, // GitHub's old header has the same name
	} {
		for _, c := range []bitbucket.Config{cloud, dataCenter} {
			matched, got := -1, ""
			c.Matched = func(n int) { matched = n }
			h := http.Header{}
			h.Set("X-Hub-Signature", tt.signature)
			signed, err := c.Verify(h)
			if err == nil {
				err = signed([]byte(body))
			}
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || matched != tt.matched {
				t.Errorf("%s: %q by secret %d, want %q by %d", tt.signature, got, matched, tt.want, tt.matched)
			}
		}
	}
	if _, err := (bitbucket.Config{}).Verify(http.Header{}); !errors.Is(err, webhook.ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestIdentify(t *testing.T) {
	for _, tt := range []struct {
		config          bitbucket.Config
		header, id      string
		wantID, wantKey string
	}{
		{cloud, "X-Request-UUID", "5f2d4b1e-7b58-4c1e-9d6b-0f3a1c2d3e4f", "5f2d4b1e-7b58-4c1e-9d6b-0f3a1c2d3e4f", "repo:push"},
		{cloud, "X-Request-UUID", "{5f2d4b1e-7b58-4c1e-9d6b-0f3a1c2d3e4f}", "{5f2d4b1e-7b58-4c1e-9d6b-0f3a1c2d3e4f}", "repo:push"},
		{cloud, "X-Request-Id", "5f2d4b1e", "", "repo:push"},
		{cloud, "X-Hook-UUID", "5f2d4b1e", "", "repo:push"}, // all deliveries of a webhook have it
		{dataCenter, "X-Request-Id", "d872ad25-24fe-4278-a73a-2a10ed6b653d", "d872ad25-24fe-4278-a73a-2a10ed6b653d", "repo:push"},
		{dataCenter, "X-Request-Id", "@18SLTRQx1000x12345x0", "@18SLTRQx1000x12345x0", "repo:push"},
		{dataCenter, "X-Request-Id", "*1J7AK2Nx613x2048x1", "*1J7AK2Nx613x2048x1", "repo:push"},
		{dataCenter, "X-Request-UUID", "d872ad25", "", "repo:push"},
		{dataCenter, "X-Request-Id", "../x y", "", "repo:push"},
		{dataCenter, "X-Request-Id", "a\nb", "", "repo:push"},
	} {
		h := http.Header{}
		h.Set("X-Event-Key", "repo:push")
		h.Set("X-Attempt-Number", "2")
		h.Set(tt.header, tt.id)
		if id, event := tt.config.Identify(h); id != tt.wantID || event != tt.wantKey {
			t.Errorf("%s %s: %q %q", tt.header, tt.id, id, event)
		}
	}
}

// TestHello sends the greeting of a Data Center, and what is like it, to a real handler: that alone is answered unsigned.
func TestHello(t *testing.T) {
	const ping = `{"test": true}`
	for name, tt := range map[string]struct {
		config                 bitbucket.Config
		event, body, signature string
		status                 int
	}{
		"a ping":             {dataCenter, "diagnostics:ping", ping, "", 200},
		"without spaces":     {dataCenter, "diagnostics:ping", `{"test":true}`, "", 200},
		"signed":             {dataCenter, "diagnostics:ping", ping, webhooktest.Sign("new secret", ping), 202},
		"signed by another":  {dataCenter, "diagnostics:ping", ping, webhooktest.Sign("another", ping), 401},
		"signed oddly":       {dataCenter, "diagnostics:ping", ping, "sha1=00", 401},
		"of Cloud":           {cloud, "diagnostics:ping", ping, "", 401},
		"another event":      {dataCenter, "repo:refs_changed", ping, "", 401},
		"no event":           {dataCenter, "", ping, "", 401},
		"more in it":         {dataCenter, "diagnostics:ping", `{"test": true, "repository": {}}`, "", 401},
		"more of the same":   {dataCenter, "diagnostics:ping", `{"test": true, "x": true}`, "", 401},
		"false":              {dataCenter, "diagnostics:ping", `{"test": false}`, "", 401},
		"empty":              {dataCenter, "diagnostics:ping", `{}`, "", 401},
		"nothing":            {dataCenter, "diagnostics:ping", ``, "", 401},
		"null":               {dataCenter, "diagnostics:ping", `null`, "", 401},
		"two":                {dataCenter, "diagnostics:ping", ping + ping, "", 401},
		"padded":             {dataCenter, "diagnostics:ping", ping + strings.Repeat(" ", 2000), "", 401},
		"without any secret": {bitbucket.Config{Name: "stash", DataCenter: true}, "diagnostics:ping", ping, "", 503},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.TempDir(), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := tt.config
			intake := webhook.New(webhook.Config{Store: s, Log: slog.New(slog.DiscardHandler), Sources: []webhook.Source{
				{Name: c.Name, Host: c.Host, Verify: c.Verify, Hello: c.Hello, Identify: c.Identify, Decode: c.Decode}}})
			e := echo.New()
			intake.Register(e)
			r := httptest.NewRequest(http.MethodPost, "/webhook/"+c.Name, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json; charset=UTF-8")
			r.Header.Set("X-Event-Key", tt.event)
			r.Header.Set("X-Request-Id", "1")
			if tt.signature != "" {
				r.Header.Set("X-Hub-Signature", tt.signature)
			}
			w := httptest.NewRecorder()
			if e.ServeHTTP(w, r); w.Code != tt.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.status)
			}
			var kept []store.Delivery
			if err := s.View(func(tx *store.Tx) (err error) { kept, err = tx.Deliveries(0, 10); return err }); err != nil || (len(kept) > 0) != (tt.status == 202) {
				t.Errorf("kept %+v, %v", kept, err)
			}
			if greeted := intake.Greetings.Load() == 1; greeted != (tt.status == 200) {
				t.Errorf("a greeting: %v", greeted)
			}
		})
	}
}

// TestEvents holds what Bitbucket can tell of against the list of CodeBuild's events, and against what samples mean.
func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		event             string
		cloud, dataCenter bool
	}{
		{store.EventPush, true, true},
		{store.EventPullRequestCreated, true, true},
		{store.EventPullRequestUpdated, true, true},
		{store.EventPullRequestReopen, false, true},
		{store.EventPullRequestMerged, true, true},
		{store.EventPullRequestClosed, true, true},
		{store.EventReleased, false, false},
		{store.EventPrereleased, false, false},
	} {
		for _, c := range []bitbucket.Config{cloud, dataCenter} {
			want := tt.cloud
			if c.DataCenter {
				want = tt.dataCenter
			}
			if got := slices.Contains(bitbucket.Events(c.DataCenter), tt.event); got != want {
				t.Errorf("%s of %s: %v", tt.event, flavour(c), got)
			}
		}
	}
	for _, c := range []bitbucket.Config{cloud, dataCenter} {
		seen := map[string]bool{}
		for _, s := range samples(t, c) {
			e, err := c.Decode(s.Event, s.Body)
			if err != nil {
				continue
			}
			switch subject := webhook.SubjectOf(&e); e.Kind {
			case webhook.Push, webhook.PullRequest, webhook.Release:
				seen[subject.Event] = true
			}
		}
		want := slices.Clone(bitbucket.Events(c.DataCenter))
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(seen))); diff != "" {
			t.Errorf("samples of %s mean other events (-Events +samples)\n%s", flavour(c), diff)
		}
	}
}

// TestQuiet are the events that start nothing: those that Bitbucket lists are known to, others are not.
func TestQuiet(t *testing.T) {
	for _, tt := range []struct {
		config  bitbucket.Config
		events  string
		unknown bool
		reason  string
	}{
		{cloud, "repo:fork repo:imported repo:created repo:commit_comment_created repo:commit_status_created repo:commit_status_updated project:updated " +
			"issue:created issue:updated issue:comment_created pullrequest:approved pullrequest:unapproved pullrequest:changes_request_created " +
			"pullrequest:changes_request_removed pullrequest:comment_resolved pullrequest:comment_reopened", false, "EVENT events start nothing"},
		{cloud, "pullrequest:comment_updated", false, "a comment that is edited starts nothing"},
		{cloud, "pullrequest:comment_deleted", false, "a comment that is deleted starts nothing"},
		{cloud, "repo:refs_changed pr:opened diagnostics:ping push Repo:Push", true, "EVENT events start nothing"},
		{dataCenter, "pr:to_ref_updated pr:reviewer:updated pr:reviewer:approved pr:reviewer:unapproved pr:reviewer:needs_work pr:reviewer:changes_requested " +
			"repo:forked repo:comment:added repo:comment:edited repo:comment:deleted repo:secret_detected mirror:repo_synchronized project:modified",
			false, "EVENT events start nothing"},
		{dataCenter, "pr:comment:edited", false, "a comment that is edited starts nothing"},
		{dataCenter, "pr:comment:deleted", false, "a comment that is deleted starts nothing"},
		{dataCenter, "repo:push pullrequest:created push", true, "EVENT events start nothing"},
	} {
		for _, event := range strings.Fields(tt.events) {
			e, err := tt.config.Decode(event, []byte(`{"changes": 1, "comment": "x", "push": [], "pullRequest": 7}`))
			if want := strings.ReplaceAll(tt.reason, "EVENT", event); err != nil || e.Kind != webhook.Nothing || e.Unknown != tt.unknown || e.Reason != want || e.Summary != event {
				t.Errorf("%s: %+v, %v, want %q", event, e, err, want)
			}
		}
	}
}

// TestAddresses finds no address of a payload in what is made of it.
func TestAddresses(t *testing.T) {
	for _, c := range []bitbucket.Config{cloud, dataCenter} {
		for _, s := range samples(t, c) {
			e, err := c.Decode(s.Event, s.Body)
			if err != nil {
				continue
			}
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "evil.example") || e.Repo.ID != "" && !(strings.HasPrefix(e.Repo.CloneURL, c.Web+"/") && strings.HasPrefix(e.Repo.WebURL, c.Web+"/")) {
				t.Errorf("%s: %s", s.Name, text)
			}
		}
	}
}

// TestRepositoryNames takes no name of a repository that would be another address.
func TestRepositoryNames(t *testing.T) {
	const id = "bc771cbf-829e-4c4b-b71f-a0eb3ac2b860"
	for name, ok := range map[string]bool{
		"octo/shop": true, "octo_1/.github": true, "Octo/Shop.js": true, "octo/..a": true, "octo/" + strings.Repeat("x", 62): true,
		"octo": false, "": false, "/": false, "octo/": false, "/shop": false, "octo/.": false, "octo/..": false, "octo/...": false, "../shop": false,
		"octo/shop/x": false, "octo/sh op": false, "octo/shop?x": false, "octo/shop#x": false, "octo/shop@x": false, "octo/sh%2fop": false, `octo\shop`: false,
		"octo/shop\n": false, "~octo/shop": false, "octo/" + strings.Repeat("x", 300): false,
	} {
		body, err := json.Marshal(map[string]any{"repository": map[string]any{"uuid": "{" + strings.ToUpper(id) + "}", "full_name": name}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := cloud.Decode("repo:deleted", body)
		if (err == nil) != ok || ok && (e.Repo.Name != name || e.Repo.ID != id || e.Repo.CloneURL != "https://bitbucket.org/"+name+".git") {
			t.Errorf("%q: %+v, %v", name, e.Repo, err)
		}
	}
	for _, tt := range []struct{ key, slug, name, clone, web string }{
		{"PROJ", "shop", "PROJ/shop", "/scm/proj/shop.git", "/projects/PROJ/repos/shop"},
		{"Proj_1-x", "shop.js", "Proj_1-x/shop.js", "/scm/proj_1-x/shop.js.git", "/projects/Proj_1-x/repos/shop.js"},
		{"~JDoe", "shop", "~jdoe/shop", "/scm/~jdoe/shop.git", "/users/jdoe/repos/shop"},
		{"~j.doe-1", "shop", "~j.doe-1/shop", "/scm/~j.doe-1/shop.git", "/users/j.doe-1/repos/shop"},
		{"", "shop", "", "", ""}, {"1PROJ", "shop", "", "", ""}, {"~", "shop", "", "", ""}, {"~..", "shop", "", "", ""}, {"~a/b", "shop", "", "", ""},
		{"P/Q", "shop", "", "", ""}, {"P Q", "shop", "", "", ""}, {"PROJ", "..", "", "", ""}, {"PROJ", "a/b", "", "", ""}, {"PROJ", "a b", "", "", ""},
		{"PROJ", "a@b", "", "", ""}, {"PROJ", "a%2e", "", "", ""}, {"PROJ\n", "shop", "", "", ""}, {strings.Repeat("P", 200), strings.Repeat("x", 200), "", "", ""},
	} {
		body, err := json.Marshal(map[string]any{"repository": map[string]any{"id": 84, "slug": tt.slug, "project": map[string]any{"key": tt.key}}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := dataCenter.Decode("repo:forked", body)
		if tt.name == "" {
			if err == nil {
				t.Errorf("%q %q: %+v", tt.key, tt.slug, e.Repo)
			}
			continue
		}
		want := store.Repo{Forge: "stash", Host: "git.example.org", ID: "84", Name: tt.name, CloneURL: dataCenter.Web + tt.clone, WebURL: dataCenter.Web + tt.web,
			Private: true, Installation: numbered(tt.name)}
		if diff := cmp.Diff(want, e.Repo); diff != "" || err != nil {
			t.Errorf("%q %q (-want +got)\n%s%v", tt.key, tt.slug, diff, err)
		}
	}
	alone := cloud
	alone.Installation = nil
	if e, err := alone.Decode("repo:deleted", []byte(`{"repository": {"uuid": "{`+id+`}", "full_name": "a/b"}}`)); err != nil || e.Repo.Installation != 0 {
		t.Errorf("without credentials: %+v, %v", e.Repo, err)
	}
}

// TestCommenter never takes the author of a pull request for the author of a comment on it.
func TestCommenter(t *testing.T) {
	const of = `"repository": {"uuid": "{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}", "full_name": "octo/shop"}, "pullrequest": {"id": 12, "author": {"account_id": "author", "nickname": "author"}}`
	const server = `"pullRequest": {"id": 12, "author": {"user": {"id": 1, "name": "author"}}, "toRef": {"repository": {"id": 84, "slug": "shop", "project": {"key": "PROJ"}}}}`
	for _, tt := range []struct {
		config      bitbucket.Config
		event, text string
		want        store.Account
	}{
		{cloud, "pullrequest:comment_created", `{` + of + `, "actor": {"account_id": "eve", "nickname": "eve"}, "comment": {"id": 5, "content": {"raw": "/test"}, "user": {"account_id": "bob", "nickname": "bob"}}}`,
			store.Account{ID: "bob", Login: "bob"}},
		{cloud, "pullrequest:comment_created", `{` + of + `, "actor": {"account_id": "eve", "display_name": "Eve"}, "comment": {"id": 5, "content": {"raw": "/test"}}}`,
			store.Account{ID: "eve", Login: "Eve"}},
		{cloud, "pullrequest:comment_created", `{` + of + `, "comment": {"id": 5, "content": {"raw": "/test"}}}`, store.Account{}},
		{cloud, "pullrequest:comment_created", `{` + of + `, "comment": {"id": 5, "content": {"raw": "/test"}, "user": {"account_id": "bob", "nickname": "bob", "type": "team"}}}`,
			store.Account{ID: "bob", Login: "bob"}},
		{cloud, "pullrequest:comment_created", `{` + of + `, "comment": {"id": 5, "content": {"raw": "/test"}, "user": {"nickname": "bob", "type": "AppUser"}}}`,
			store.Account{Login: "bob", Bot: true}},
		{dataCenter, "pr:comment:added", `{` + server + `, "actor": {"id": 3, "name": "eve"}, "comment": {"id": 5, "text": "/test", "author": {"id": 2, "name": "bob", "type": "NORMAL"}}}`,
			store.Account{ID: "2", Login: "bob"}},
		{dataCenter, "pr:comment:added", `{` + server + `, "actor": {"id": 3, "name": "eve"}, "comment": {"id": 5, "text": "/test"}}`, store.Account{ID: "3", Login: "eve"}},
		{dataCenter, "pr:comment:added", `{` + server + `, "comment": {"id": 5, "text": "/test"}}`, store.Account{}},
		{dataCenter, "pr:comment:added", `{` + server + `, "comment": {"id": 5, "text": "x ` + store.CommentMark + `reply 1)", "author": {"id": 2, "name": "bob", "type": "NORMAL"}}}`,
			store.Account{ID: "2", Login: "bob", Bot: true}},
	} {
		e, err := tt.config.Decode(tt.event, []byte(tt.text))
		if err != nil || e.Kind != webhook.Comment || e.Comment.PullRequest != 12 || e.Comment.ID != 5 || e.Comment.Author != tt.want || e.PullRequest.Number != 0 {
			t.Errorf("%s\n%+v, %v", tt.text, e, err)
		}
	}
}

// TestLogins makes names that people chose for themselves ones that stand in a line.
func TestLogins(t *testing.T) {
	for name, want := range map[string]string{
		"alice": "alice", "Zoë 東 O'Neil": "Zoë 東 O'Neil", "": "Display", " \t": "Display", "a\nb": "a b", "`a`": "a", "x\u202e\u200by": "x y", "\x00": "Display",
		strings.Repeat("é", 150): strings.Repeat("é", 100), strings.Repeat("x", 99) + " yz": strings.Repeat("x", 99),
	} {
		body, err := json.Marshal(map[string]any{"actor": map[string]any{"nickname": name, "display_name": "Display"}})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := cloud.Decode("repo:push", body); err != nil || e.Sender.Login != want {
			t.Errorf("%q: %q, %v, want %q", name, e.Sender.Login, err, want)
		}
	}
}

// TestRead says what is wrong with a payload.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		config            bitbucket.Config
		event, text, want string
	}{
		{cloud, "repo:push", "", "the payload of repo:push is not what Bitbucket describes: unexpected end of JSON input"},
		{cloud, "repo:push", "[]", "the payload of repo:push is not what Bitbucket describes: json: cannot unmarshal array"},
		{cloud, "repo:dance", "{", "the payload of repo:dance is not what Bitbucket describes: unexpected end of JSON input"},
		{dataCenter, "pr:opened", `{"pullRequest": {"id": "x"}}`, "the payload of pr:opened is not what Bitbucket describes: json: cannot unmarshal string"},
		{dataCenter, "pr:opened", strings.Repeat(`{"pullRequest":`, 20000), "the payload of pr:opened is not what Bitbucket describes: "},
	} {
		if _, err := tt.config.Decode(tt.event, []byte(tt.text)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s %.50q: %v, want %q", tt.event, tt.text, err, tt.want)
		}
	}
}

// TestOrganization says whose a repository is, by its name.
func TestOrganization(t *testing.T) {
	for _, tt := range []struct {
		config     bitbucket.Config
		name, want string
	}{
		{cloud, "acme/shop", "acme"}, {dataCenter, "SHOP/web", "SHOP"}, {dataCenter, "~alice/tools", ""},
	} {
		if got := tt.config.Organization(store.Repo{Name: tt.name}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestDefaultBranch has a delivery of a repository whose default branch somebody knows: deliveries do not tell it.
func TestDefaultBranch(t *testing.T) {
	const cloud = `{"repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "acme/shop"}, "push": {"changes": []}}`
	const told = `{"repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "acme/shop", "mainbranch": {"name": "trunk"}}, "push": {"changes": []}}`
	const server = `{"repository": {"id": 7, "slug": "shop", "project": {"key": "ACME"}}, "changes": []}`
	known := func(repo string) string { return map[string]string{"acme/shop": "main", "ACME/shop": "master"}[repo] }
	for _, tt := range []struct {
		name, event, body, want string
		from                    bitbucket.Config
	}{
		{"Cloud", "repo:push", cloud, "main", bitbucket.Config{DefaultBranch: known}},
		{"Cloud that tells", "repo:push", told, "trunk", bitbucket.Config{DefaultBranch: known}},
		{"Data Center", "repo:refs_changed", server, "master", bitbucket.Config{DefaultBranch: known, DataCenter: true}},
		{"nobody knows", "repo:push", cloud, "", bitbucket.Config{}},
	} {
		if e, err := tt.from.Decode(tt.event, []byte(tt.body)); err != nil || e.Repo.DefaultBranch != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, e.Repo.DefaultBranch, err, tt.want)
		}
	}
}
