package main

import (
	"strings"
	"testing"
)

const (
	cloudPush = `{"actor": {"account_id": "557058:a", "nickname": "ann", "type": "user"}, "repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "octo/shop"},
		"push": {"changes": [CHANGE]}}`
	cloudChange = `{"new": {"type": "branch", "name": "NAME", "target": {"hash": "2222222222222222222222222222222222222222", "message": "m"}}, "old": null, "created": true}`
	cloudPull   = `{"actor": {"account_id": "557058:a", "nickname": "ann", "type": "user"}, "repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "octo/shop"},
		"pullrequest": {"id": 7, "state": "OPEN", "author": {"account_id": "557058:a"},
		"source": {"branch": {"name": "dev"}, "commit": {"hash": "222222222222"}, "repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "octo/shop"}},
		"destination": {"branch": {"name": "main"}, "commit": {"hash": "111111111111"}, "repository": {"uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}", "full_name": "octo/shop"}}}}`
	serverPush = `{"eventKey": "repo:refs_changed", "actor": {"id": 5, "name": "ann"}, "repository": {"id": 7, "slug": "shop", "project": {"key": "OCTO"}},
		"changes": [{"ref": {"id": "refs/heads/dev", "type": "BRANCH"}, "refId": "refs/heads/dev", "fromHash": "0000000000000000000000000000000000000000", "toHash": "2222222222222222222222222222222222222222", "type": "ADD"}]}`
)

// TestFilterOfBitbucket tries filters at payloads of Cloud and of a Data Center.
func TestFilterOfBitbucket(t *testing.T) {
	push := func(names ...string) string {
		var changes []string
		for _, name := range names {
			changes = append(changes, strings.Replace(cloudChange, "NAME", name, 1))
		}
		return strings.Replace(cloudPush, "CHANGE", strings.Join(changes, ","), 1)
	}
	for name, tt := range map[string]struct {
		text      string
		args      []string
		out, errs string
		status    int
	}{
		"a push to Cloud":          {push("dev"), nil, "builds: group 1", "", 0},
		"of two branches":          {push("dev", "main"), nil, "builds: group 1", "note: the push is of 2 refs; this is about the first", 0},
		"a push to a Data Center":  {serverPush, nil, "builds: group 1", "", 0},
		"a pull request":           {cloudPull, []string{"--event", "pullrequest:created"}, "builds: group 1", "", 0},
		"one that is merged":       {cloudPull, []string{"--event", "pullrequest:fulfilled"}, "does not build", "", 1},
		"which event nobody knows": {cloudPull, nil, "", "shows no event that filters look at; name it with --event", 2},
		"none that filters see":    {cloudPull, []string{"--event", "repo:fork"}, "", "--event repo:fork is none of Bitbucket's that filters look at: repo:push, ", 2},
		"not what it is called":    {`{"eventKey": "pr:opened", "repository": []}`, nil, "", "is not what Bitbucket describes", 3},
	} {
		out, errs, status := filterRun(t, tt.text, append([]string{"groups.yml", "-"}, tt.args...)...)
		if status != tt.status || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) || tt.errs == "" && errs != "" {
			t.Errorf("%s: %d\n%s\n%s", name, status, out, errs)
		}
	}
}
