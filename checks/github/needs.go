package github

import (
	"slices"
	"strings"
)

// A Need is a permission that the App asks for.
type Need struct {
	Name     string // checks
	Level    string // read or write
	Why      string // what does not work without it
	Required bool   // no build works without it
}

// Needs are the permissions that the App asks for.
// https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
var Needs = []Need{
	{"metadata", "read", "repositories cannot be seen", true},
	{"contents", "read", "commits cannot be fetched", true},
	{"checks", "write", "no check can be made", true},
	{"pull_requests", "write", "pull requests are not built", true},
	{"issues", "read", "commands in comments are not heard", false},
	{"statuses", "write", "commit statuses cannot be made", false},
	{"merge_queues", "read", "merge queues are not built", false},
	{"deployments", "write", "projects cannot record deployments", false},
}

// Events are those that the App subscribes to; check_run and check_suite come with the permission on checks.
var Events = []string{"push", "pull_request", "issue_comment", "merge_group", "release", "repository"}

// needless are the events that an App can do without, by what does not work then.
var needless = map[string]string{
	"merge_group": "merge queues are not built", "repository": "renamed repositories are noticed late",
	"release": "releases are not built", "issue_comment": "commands in comments are not heard",
}

// A Lack is something that the App, or an installation of it, has not been given.
type Lack struct {
	Text     string // what, and what does not work without it
	Required bool
}

// Missing gives what is lacking of the permissions and events that are needed.
func Missing(granted map[string]string, events []string) []Lack {
	var list []Lack
	for _, n := range Needs {
		have := granted[n.Name]
		if have == n.Level || have == "write" || have == "admin" {
			continue
		}
		if have == "" {
			have = "not granted"
		} else {
			have += " is granted"
		}
		list = append(list, Lack{"permission " + n.Name + ": " + n.Level + " is needed, " + have + "; without it " + n.Why, n.Required})
	}
	for _, event := range Events {
		if slices.Contains(events, event) {
			continue
		}
		why, optional := needless[event]
		if !optional {
			why = "nothing is built of it"
		}
		list = append(list, Lack{"event " + event + ": not subscribed to; without it " + why, !optional})
	}
	return list
}

// permissions are what a manifest asks for. Old Enterprise Servers know no merge queues, and refuse a manifest that names them.
func permissions(old bool) map[string]string {
	all := map[string]string{}
	for _, n := range Needs {
		if !old || !strings.HasPrefix(n.Name, "merge_") {
			all[n.Name] = n.Level
		}
	}
	return all
}

func subscriptions(old bool) []string {
	return slices.DeleteFunc(slices.Clone(Events), func(event string) bool { return old && strings.HasPrefix(event, "merge_") })
}
