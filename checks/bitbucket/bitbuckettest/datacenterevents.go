package bitbuckettest

import (
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// dcMostPushed is how many commits a push payload holds at most.
const dcMostPushed = 5

// event is the key and the payload of an event. Nobody is told that a repository was deleted or that a pull request was
// reopened.
func (d *dataCenter) event(s *Server, e event) (key string, payload object, err error) {
	if e.kind == diagnosticsPing {
		return "diagnostics:ping", object{"test": true}, nil
	}
	more := object{}
	if e.pull != nil {
		more["pullRequest"] = d.pullJSON(s, e.pull)
	}
	if e.comment != nil {
		more["comment"] = d.commentJSON(s, e.comment, nil)
		if e.comment.Parent != 0 {
			more["commentParentId"] = e.comment.Parent
		}
	}
	switch e.kind {
	case pushed:
		key = "repo:refs_changed"
		err = d.pushed(s, e, more)
	case repoRenamed:
		key = "repo:modified"
		old := *e.repo
		_, old.slug, _ = strings.Cut(e.oldName, "/")
		more["old"], more["new"] = d.repoJSON(s, &old), d.repoJSON(s, e.repo)
	case repoVisibility:
		key = "repo:modified"
		old := *e.repo
		old.private = !e.repo.private
		more["old"], more["new"] = d.repoJSON(s, &old), d.repoJSON(s, e.repo)
	case pullOpened:
		key = "pr:opened"
	case pullMoved:
		key = "pr:from_ref_updated"
		more["previousFromHash"] = e.oldHead
	case pullEdited:
		key = "pr:modified"
		target := dcRef("refs/heads/" + e.oldBase)
		more["previousTarget"] = with(target, object{"latestCommit": e.oldBaseSHA, "latestChangeset": e.oldBaseSHA})
		more["previousTitle"], more["previousDescription"] = e.oldTitle, nil
		if e.pull.body != "" {
			more["previousDescription"] = e.pull.body
		}
		if d.atLeast(8, 18) {
			more["previousDraft"] = e.oldDraft
		}
	case pullMerged:
		key = "pr:merged"
	case pullDeclined:
		key = "pr:declined"
	case pullDeleted:
		key = "pr:deleted"
	case commentAdded:
		key = "pr:comment:added"
	case commentEdited:
		key = "pr:comment:edited"
		more["previousComment"] = e.oldText
	case commentDeleted:
		key = "pr:comment:deleted"
	}
	if key == "" || err != nil {
		return "", nil, err
	}
	return key, with(object{"eventKey": key, "date": dcDate(e.at), "actor": d.userJSON(s, e.actor)}, more), nil
}

// pushed tells of all refs that one push has changed. A ref that is not there has a hash of zeros. An annotated tag has that
// of its object.
func (d *dataCenter) pushed(s *Server, e event, o object) error {
	list := []object{}
	for _, change := range e.changes {
		kind, from, to := "UPDATE", change.before, change.after
		switch {
		case from == "":
			kind, from = "ADD", forgetest.ZeroHash
		case to == "":
			kind, to = "DELETE", forgetest.ZeroHash
		}
		list = append(list, object{"ref": dcRef(change.ref), "refId": change.ref, "fromHash": from, "toHash": to, "type": kind})
	}
	o["repository"], o["changes"] = d.repoJSON(s, e.repo), list
	if !d.atLeast(8, 0) {
		return nil
	}
	return d.pushedCommits(s, e, o)
}

// pushedCommits adds what servers of late tell of a push beyond the refs: the newest commits, and the head if there is only
// one.
func (d *dataCenter) pushedCommits(s *Server, e event, o object) error {
	args, none := []string{"-n", strconv.Itoa(dcMostPushed)}, true
	for _, change := range e.changes {
		if change.after != "" {
			args, none = append(args, change.after), false
		}
		if change.before != "" {
			args = append(args, "^"+change.before)
		}
	}
	if none {
		return nil
	}
	list, err := forgetest.Log(e.repo.dir, args...)
	if err != nil {
		return err
	}
	commits := []object{}
	for _, c := range list {
		commits = append(commits, d.commitJSON(s, c))
	}
	o["commits"] = commits
	if len(e.changes) > 1 {
		return nil
	}
	head, err := forgetest.ReadCommit(e.repo.dir, e.changes[0].after)
	if err != nil {
		return err
	}
	parents := []object{}
	for _, sha := range head.Parents {
		parent, err := forgetest.ReadCommit(e.repo.dir, sha)
		if err != nil {
			return err
		}
		parents = append(parents, d.commitJSON(s, parent))
	}
	o["toCommit"] = with(d.commitJSON(s, head), object{"parents": parents})
	return nil
}
