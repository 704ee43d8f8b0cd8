package webhook

import (
	"strings"
	"testing"

	"buildsmith/store"
)

// TestFoundFilters has filters look at what no delivery told of: whose the repository is they see, who pushed nobody knows.
func TestFoundFilters(t *testing.T) {
	filters, warnings, err := CompileFilters([][]Filter{
		{{Type: "EVENT", Pattern: "PUSH"}, {Type: "ORGANIZATION_NAME", Pattern: "^octo$"}, {Type: "HEAD_REF", Pattern: "^refs/heads/main$"}},
		{{Type: "EVENT", Pattern: "PUSH"}, {Type: "ACTOR_ACCOUNT_ID", Pattern: "^.*$"}},
	})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	d, s := newShowing(t, Project{Name: "shop", Filters: filters})
	source := *d.intake.source("test")
	source.Organization = func(r store.Repo) string { owner, _, _ := strings.Cut(r.Name, "/"); return owner }
	d.intake.AddSource(source)
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.look()
	s.at(Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('c')}})
	list := d.found()
	if len(list) != 2 || len(list[0].Builds) != 1 || len(list[1].Builds) != 0 || !strings.Contains(list[1].Reason, "the event has no ACTOR_ACCOUNT_ID") {
		t.Errorf("%+v", list)
	}
}
