package bitbuckettest

import (
	"strings"

	"buildsmith/checks/forgetest"
)

// cloudKeys are the keys of events; what is missing is not told.
var cloudKeys = map[eventKind]string{
	pushed:         "repo:push",
	repoRenamed:    "repo:updated",
	repoVisibility: "repo:updated",
	repoDeleted:    "repo:deleted",
	pullOpened:     "pullrequest:created",
	pullMoved:      "pullrequest:updated",
	pullEdited:     "pullrequest:updated",
	pullMerged:     "pullrequest:fulfilled",
	pullDeclined:   "pullrequest:rejected",
	commentAdded:   "pullrequest:comment_created",
	commentEdited:  "pullrequest:comment_updated",
	commentDeleted: "pullrequest:comment_deleted",
}

// event is the key and the payload of an event.
func (f cloud) event(s *Server, e event) (key string, payload object, err error) {
	key = cloudKeys[e.kind]
	if key == "" {
		return "", nil, nil
	}
	payload = object{"actor": s.cloudUser(e.actor), "repository": s.cloudRepoJSON(e.repo)}
	switch e.kind {
	case pushed:
		changes := []object{}
		for _, c := range e.changes {
			o, err := s.cloudChange(e, c)
			if err != nil {
				return "", nil, err
			}
			changes = append(changes, o)
		}
		payload["push"] = object{"changes": changes}
	case repoRenamed:
		_, old, _ := strings.Cut(e.oldName, "/")
		payload["changes"] = object{"name": object{"old": old, "new": e.repo.slug}, "full_name": object{"old": e.oldName, "new": e.repo.name()},
			"links": object{"old": object{"html": link(s.url + "/" + e.oldName)}, "new": object{"html": link(s.url + "/" + e.repo.name())}}}
	case repoVisibility:
		payload["changes"] = object{"is_private": object{"old": !e.repo.private, "new": e.repo.private}}
	}
	if e.pull != nil {
		payload["pullrequest"] = s.cloudPullJSON(e.pull)
	}
	if e.comment != nil {
		payload["comment"] = s.cloudCommentJSON(e.comment)
	}
	return key, payload, nil
}

// mostPushed is how many commits a change of a push holds at most.
const mostPushed = 5

// cloudChange is what has happened to a ref: the ref before and after, null for none, and the newest of the commits that it was
// given.
func (s *Server) cloudChange(e event, c refChange) (object, error) {
	o := object{"old": nil, "new": nil, "created": c.before == "", "closed": c.after == "", "forced": false, "truncated": false, "commits": []object{},
		"links": object{"commits": link(s.cloudAPI("/repositories/" + e.repo.name() + "/commits?include=" + c.after + "&exclude=" + c.before)),
			"html": link(s.url + "/" + e.repo.name() + "/branches/compare/" + c.after + ".." + c.before)}}
	for key, hash := range map[string]string{"old": c.before, "new": c.after} {
		if hash == "" {
			continue
		}
		ref, err := s.cloudRefJSON(e.repo, c.ref, hash)
		if err != nil {
			return nil, err
		}
		o[key] = ref
	}
	if c.after == "" {
		return o, nil
	}
	args := []string{"-6", c.after, "--not"}
	if c.before != "" {
		_, err := s.flavor.host().Git(e.repo.dir, nil, "merge-base", "--is-ancestor", c.before, c.after)
		o["forced"] = err != nil
		args = append(args, c.before)
	} else {
		changed := map[string]bool{}
		for _, other := range e.changes {
			changed[other.ref] = true
			if other.before != "" {
				args = append(args, other.before)
			}
		}
		for _, ref := range forgetest.ChangedRefs(nil, e.repo.refs) {
			if !changed[ref] {
				args = append(args, e.repo.refs[ref])
			}
		}
	}
	commits, err := forgetest.Log(e.repo.dir, args...)
	if err != nil {
		return nil, err
	}
	o["truncated"] = len(commits) > mostPushed
	list := []object{}
	for _, one := range commits[:min(len(commits), mostPushed)] {
		list = append(list, s.cloudCommitJSON(e.repo, one))
	}
	o["commits"] = list
	return o, nil
}
