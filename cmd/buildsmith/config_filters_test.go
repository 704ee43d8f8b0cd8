package main

import (
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/google/go-cmp/cmp"
)

// TestFilterGroups reads filter groups in both spellings, and has the server know them by repository.
func TestFilterGroups(t *testing.T) {
	c, _, err := load(t, `
projects:
  - name: shop
    repository: shop
    filter-groups:
      - - &push {type: EVENT, pattern: PUSH}
        - {type: HEAD_REF, pattern: ^refs/heads/main$, exclude-matched-pattern: false}
      - [*push, {"type": "ACTOR_ACCOUNT_ID", "pattern": 123, "excludeMatchedPattern": true}]
  - {name: open, repository: shop, filter-groups: []}
  - {name: none, repository: shop, filter-groups: }
`)
	if err != nil {
		t.Fatal(err)
	}
	push := webhook.Filter{Type: "EVENT", Pattern: "PUSH"}
	want := [][]webhook.Filter{
		{push, {Type: "HEAD_REF", Pattern: "^refs/heads/main$"}},
		{push, {Type: "ACTOR_ACCOUNT_ID", Pattern: "123", Exclude: true}},
	}
	var got [][]webhook.Filter
	for _, group := range c.Projects[0].FilterGroups {
		got = append(got, group.filters)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	projects := c.configured(store.Repo{Forge: "local", Name: "shop"})
	if len(projects) != 3 || projects[0].Filters == nil || projects[1].Filters != nil || projects[2].Filters != nil {
		t.Errorf("%+v", projects)
	}
	if again := c.configured(store.Repo{Forge: "local", Name: "shop"}); again[0].Filters != projects[0].Filters {
		t.Error("the filters were compiled again")
	}
	const warning = "projects.shop: group 2, filter 2: ACTOR_ACCOUNT_ID: the pattern 123 is searched for anywhere and has neither ^ nor $, so it matches more than it says; write ^(?:...)$ around it, or longer ids pass too"
	if got := strings.Join(c.filterWarnings(), "\n"); got != warning {
		t.Errorf("%s, want %s", got, warning)
	}
}

func TestFilterGroupProblems(t *testing.T) {
	const list = "; write lists of filters such as {type: EVENT, pattern: PUSH} into a list"
	for groups, want := range map[string][]string{
		"PUSH":                               {"FILE:4: filter groups are a list of lists" + list},
		"[PUSH]":                             {"FILE:4: a filter group is a list of filters" + list},
		"[{type: EVENT, pattern: PUSH}]":     {"FILE:4: a filter group is a list of filters" + list},
		"[[PUSH]]":                           {"FILE:4: a filter has the keys type, pattern, exclude-matched-pattern" + list},
		"[[{typ: EVENT}]]":                   {`FILE:4: "typ" does not belong to a filter; known here: type, pattern, exclude-matched-pattern`},
		"[[{type: EVENT, pattern: [PUSH]}]]": {"FILE:4: pattern of a filter is a text"},
		"[[{type: EVENT, pattern: }]]":       {"FILE:4: pattern of a filter is a text"},
		"[[{type: EVENT, type: EVENT}]]":     {"FILE:4: type stands twice in a filter"},
		"[[{type: EVENT, exclude-matched-pattern: perhaps}]]": {`FILE:4: exclude-matched-pattern is true or false, not "perhaps"`},
		"[\n [{typ: EVENT}, PUSH],\n [x], y]":                 {`FILE:5: "typ" does not belong to a filter; known here: type, pattern, exclude-matched-pattern`, "FILE:5: a filter has the keys type, pattern, exclude-matched-pattern" + list, "FILE:6: a filter has the keys type, pattern, exclude-matched-pattern" + list, "FILE:6: a filter group is a list of filters" + list},
		"[\n [{type: EVENT, pattern: PUSH},\n  {type: HEAD_REF, pattern: (}],\n []]": {
			"FILE:6: projects.shop.filter-groups[0][1]: the pattern of HEAD_REF is no regular expression: missing closing ) in `(`",
			"FILE:7: projects.shop.filter-groups[1]: the group has no filter of the type EVENT, which every group needs"},
		"[" + strings.Repeat("[],", 101) + "]": {"FILE:4: projects.shop.filter-groups: 101 filter groups are more than 100"},
	} {
		_, dir, err := load(t, "projects:\n  - name: shop\n    repository: shop\n    filter-groups: "+groups+"\n")
		if err == nil {
			t.Errorf("%s: accepted", groups)
			continue
		}
		if got, want := strings.ReplaceAll(err.Error(), filepath.Join(dir, "config.yml"), "FILE"), strings.Join(want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", groups, got, want)
		}
	}
}

// TestDocsOfFilters holds docs/filters.md to what is there: its examples are valid and give no warning, and it has every type
// and event.
func TestDocsOfFilters(t *testing.T) {
	text := document(t, "docs/filters.md")
	blocks := strings.Split(text, "```yaml\n")[1:]
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "filter-groups:") {
			block = "projects:\n  - name: shop\n    repository: octo/shop\n    " + strings.ReplaceAll(block, "\n", "\n    ")
		}
		c, dir, err := load(t, "github: {app-id: 1, private-key: {file: DIR/secret}, webhook-secrets: [{file: DIR/secret}]}\n"+block)
		if err != nil {
			t.Errorf("%s\n%s: %v", block, dir, err)
			continue
		}
		if warnings := c.filterWarnings(); len(warnings) > 0 || c.Projects[0].filters == nil {
			t.Errorf("%s\n%q", block, warnings)
		}
	}
	if len(blocks) < 6 {
		t.Errorf("%d examples", len(blocks))
	}
	_, _, err := webhook.CompileFilters([][]webhook.Filter{{{Type: "EVENT", Pattern: "X"}, {Type: "X", Pattern: "X"}}})
	known := 0
	for line := range strings.Lines(err.Error()) {
		_, list, _ := strings.Cut(strings.TrimSpace(line), "known are ")
		for _, word := range strings.Split(list, ", ") {
			if known++; !strings.Contains(text, "`"+word+"`") {
				t.Errorf("docs/filters.md lacks %s", word)
			}
		}
	}
	if known != 21 {
		t.Errorf("%d types and events", known)
	}
}
