package webhook

import (
	"fmt"
	"slices"
	"strings"

	"buildsmith/store"
)

// mayNot says why a command is refused, in a sentence or two; empty if it is not.
func mayNot(c *command, a *asker) string {
	needs := func(what string) string {
		if a.unasked != "" {
			return fmt.Sprintf("`%s` needs %s, and what `%s` may do cannot be asked: %s.", c.verb, what, a.account.Login, a.unasked)
		}
		return fmt.Sprintf("`%s` needs %s; `%s` has %s access.", c.verb, what, a.account.Login, roleWord(a.permission))
	}
	switch {
	case a.permission < store.PermissionRead:
		return needs("read access to this repository")
	case c.problem != "":
		return c.problem
	case c.verb == verbHelp:
		return ""
	case a.pr.Number == 0 || a.pr.Head == "":
		return a.reason
	case c.verb == verbStatus:
		return ""
	case !a.pr.Open:
		return fmt.Sprintf("Pull request %d is closed.", a.pr.Number)
	}
	writes := a.permission >= store.PermissionWrite
	switch c.verb {
	case verbCancel:
		if !writes && !a.author {
			return needs("write access to this repository, or to be the author of the pull request")
		}
	case verbRevoke:
		if !writes {
			return needs("write access to this repository")
		}
	case verbApprove:
		return mayNotApproveHash(c, a)
	case verbTest, verbRerun:
		switch {
		case !writes && !(a.author && a.approved):
			return needs("write access to this repository")
		case a.held != "" && !a.approved:
			return fmt.Sprintf("Pull request %d waits for approval: %s. Look at commit %.12s, and then comment: `/buildsmith approve %s`", a.pr.Number, a.held, a.pr.Head, a.pr.Head)
		case len(a.list) == 0:
			return "Nothing can be built: " + a.reason + "."
		case !slices.ContainsFunc(a.list, func(c candidate) bool { return c.skip == "" }): // there is no buildspec
			return a.list[0].skip
		}
		return mayNotSet(c, a)
	}
	return ""
}

// mayNotApproveHash says why an approval is refused: by who asks for it, or by the commit that it names, or does not.
func mayNotApproveHash(c *command, a *asker) string {
	if why := mayNotApprove(a.list, &a.pr, a.account, a.permission); why != "" {
		return why
	}
	if a.adrift {
		return "The repository that this pull request comes from is gone, and its commits can be mistaken for others. Have it opened again from a repository that is there."
	}
	if c.hash == "" && !slices.ContainsFunc(a.list, func(c candidate) bool { return !c.project.Rules.AnyHash }) && len(a.list) > 0 {
		return "" // whether the head was seen before the comment is looked at in the transaction
	}
	if c.hash == "" {
		return fmt.Sprintf("An approval names the commit that was looked at. That of the newest is: `/buildsmith approve %s`", a.pr.Head)
	}
	if !strings.HasPrefix(a.pr.Head, c.hash) {
		return fmt.Sprintf("Commit %.12s is not the newest of this pull request any longer. Look at what was pushed since, and then comment: `/buildsmith approve %s`", c.hash, a.pr.Head)
	}
	return ""
}

// mayNotSet says why variables of a comment are refused: each must be one that every project it is for declares.
func mayNotSet(c *command, a *asker) string {
	for _, o := range c.options {
		if !store.ValidVariable(o.Name) {
			return fmt.Sprintf("`%s` is no variable that a build can be given.", o.Name)
		}
		for _, candidate := range a.list {
			p := &candidate.project
			if len(c.targets) > 0 && p.Name != "" && !slices.Contains(c.targets, p.Name) && !slices.Contains(c.targets, "all") {
				continue
			}
			if why := mayNotSetIn(c, p); why != "" {
				return why
			}
		}
	}
	return ""
}

// mayNotSetIn says why variables of a comment are refused in a project.
func mayNotSetIn(c *command, p *Project) string {
	for _, o := range c.options {
		switch {
		case slices.Contains(p.Rules.Overridable, o.Name):
		case len(p.Rules.Overridable) == 0:
			return fmt.Sprintf("`%s` cannot be set by a comment: the project declares no variable as overridable.", o.Name)
		default:
			return fmt.Sprintf("`%s` cannot be set by a comment; these can: `%s`.", o.Name, strings.Join(p.Rules.Overridable, "`, `"))
		}
	}
	return ""
}
