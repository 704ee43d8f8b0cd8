package githubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// payloadLocked adds what all payloads have.
func (s *Server) payloadLocked(r *repo, sender string, more object) object {
	o := with(object{"repository": s.repoJSON(r), "sender": s.userJSON(sender)}, more)
	if inst := s.installationLocked(r); inst != nil {
		o["installation"] = object{"id": inst.id, "node_id": nodeID("INST", inst.id)}
	}
	if s.userLocked(r.owner).kind == "Organization" {
		o["organization"] = s.organizationJSON(r.owner)
	}
	return o
}

// deliver builds a payload under the lock and sends it without. Nothing is sent if the app is not installed in the
// repository, or suspended there.
func (s *Server) deliver(event string, build func() (*repo, object, error)) (Delivery, error) {
	return s.tell(event, func() (*installation, object, error) {
		r, payload, err := build()
		if err != nil {
			return nil, nil, err
		}
		return s.installationLocked(r), payload, nil
	})
}

// Ping sends the ping that GitHub sends when a webhook is set up.
func (s *Server) Ping() (Delivery, error) {
	s.mu.Lock()
	payload := object{"zen": "Keep it logically awesome.", "hook_id": hookID, "hook": object{"type": "App", "id": hookID, "name": "web", "active": true,
		"events": subscribed, "config": object{"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": s.hook}, "app_id": s.appID,
		"updated_at": stamp(s.started), "created_at": stamp(s.started), "url": s.api("/app/hook"), "ping_url": s.api("/app/hook/pings"),
		"deliveries_url": s.api("/app/hook/deliveries")}}
	s.mu.Unlock()
	return s.Deliver("ping", payload, DeliverOptions{})
}

// Push tells the app what happened to a branch or a tag since it was told last: created, moved, moved by force or deleted.
// A name without refs/ is a branch. The pusher is the author of the last commit, if that is a user, else the owner.
func (s *Server) Push(fullName, ref string) (Delivery, error) {
	if !strings.HasPrefix(ref, "refs/") {
		ref = "refs/heads/" + ref
	}
	return s.deliver("push", func() (*repo, object, error) {
		r, err := s.namedRepoLocked(fullName)
		if err != nil {
			return nil, nil, err
		}
		payload, err := s.pushPayloadLocked(r, ref, "")
		if err != nil {
			return nil, nil, fmt.Errorf("pushing %s to %s: %w", ref, fullName, err)
		}
		return r, payload, nil
	})
}

// mostCommits is how many commits a push payload holds at most.
const mostCommits = 2048

func (s *Server) pushPayloadLocked(r *repo, ref, pusher string) (object, error) {
	dir := s.repoDir(r)
	refs, err := forgetest.Refs(dir)
	if err != nil {
		return nil, err
	}
	before, after := r.refs[ref], refs[ref]
	if before == after {
		return nil, errors.New("nothing has changed there since the app was told last")
	}
	created, deleted := before == "", after == ""
	full := r.fullName()
	o := object{"ref": ref, "before": before, "after": after, "created": created, "deleted": deleted, "forced": false, "base_ref": nil,
		"commits": []object{}, "head_commit": nil, "compare": fmt.Sprintf("%s/%s/compare/%.12s...%.12s", s.url, full, before, after)}
	if created {
		o["before"] = forgetest.ZeroHash
		o["compare"] = fmt.Sprintf("%s/%s/commit/%.12s", s.url, full, after)
		o["base_ref"] = orNull(sameRef(r.refs, ref, after))
	}
	if deleted {
		o["after"] = forgetest.ZeroHash
	}
	if !deleted {
		head, err := forgetest.ReadCommit(dir, after)
		if err != nil {
			return nil, err
		}
		o["head_commit"] = s.pushedCommitJSON(r, head)
		if u := s.findUserLocked(head.Author.Name); pusher == "" && u != nil {
			pusher = u.login
		}
		if !created {
			_, err := git(dir, nil, "merge-base", "--is-ancestor", before, after)
			o["forced"] = err != nil
		}
		if o["commits"], err = s.pushedCommits(r, ref, before, after); err != nil {
			return nil, err
		}
	}
	if pusher == "" {
		pusher = r.owner
	}
	o["pusher"] = object{"name": pusher, "email": email(s.userLocked(pusher))}
	r.pushed = s.now()
	forgetest.SetRef(r.refs, ref, after)
	payload := s.payloadLocked(r, pusher, o)
	// In this event a few things of the repository look different.
	owner := s.userJSON(r.owner)
	owner["name"], owner["email"] = r.owner, email(s.userLocked(r.owner))
	repository := with(s.repoJSON(r), object{"created_at": r.created.Unix(), "pushed_at": r.pushed.Unix(), "url": s.url + "/" + full, "stargazers": 0,
		"master_branch": r.defaultBranch, "owner": owner})
	if s.userLocked(r.owner).kind == "Organization" {
		repository["organization"] = r.owner
	}
	payload["repository"] = repository
	return payload, nil
}

// sameRef returns another ref, a branch if there is one, that holds the same commit.
func sameRef(refs map[string]string, ref, hash string) string {
	found := ""
	for other, h := range refs {
		if other != ref && h == hash && (found == "" || other < found) {
			found = other
		}
	}
	return found
}

// pushedCommits lists the commits that a push brought, the oldest first. Tags bring none.
func (s *Server) pushedCommits(r *repo, ref, before, after string) ([]object, error) {
	list := []object{}
	if !strings.HasPrefix(ref, "refs/heads/") {
		return list, nil
	}
	args := []string{"--reverse", "--topo-order", after, "--not"}
	if before != "" {
		args = append(args, before)
	} else {
		for _, hash := range r.refs {
			args = append(args, hash)
		}
	}
	commits, err := forgetest.Log(s.repoDir(r), args...)
	if err != nil {
		return nil, err
	}
	for _, c := range commits[max(0, len(commits)-mostCommits):] {
		list = append(list, s.pushedCommitJSON(r, c))
	}
	return list, nil
}

// pushedCommitJSON is a commit as push payloads have it.
func (s *Server) pushedCommitJSON(r *repo, c forgetest.Commit) object {
	who := func(g forgetest.Signature) object {
		o := object{"name": g.Name, "email": g.Email}
		if u := s.findUserLocked(g.Name); u != nil && email(u) == g.Email {
			o["username"] = u.login
		}
		return o
	}
	return object{"id": c.SHA, "tree_id": c.Tree, "distinct": true, "message": c.Message, "timestamp": c.Committer.At.Format(time.RFC3339),
		"url": s.url + "/" + r.fullName() + "/commit/" + c.SHA, "author": who(c.Author), "committer": who(c.Committer),
		"added": orEmpty(c.Added), "removed": orEmpty(c.Removed), "modified": orEmpty(c.Modified)}
}

// OpenPullRequest opens a pull request, tells the app, and returns its number.
func (s *Server) OpenPullRequest(fullName string, in PullRequest) (int, Delivery, error) {
	number := 0
	d, err := s.deliver("pull_request", func() (*repo, object, error) {
		r, err := s.namedRepoLocked(fullName)
		if err != nil {
			return nil, nil, err
		}
		i, err := s.newPullLocked(r, in)
		if err != nil {
			return nil, nil, fmt.Errorf("opening a pull request of %s: %w", fullName, err)
		}
		number = i.number
		payload, err := s.pullPayloadLocked(r, i, "opened", i.user, nil)
		return r, payload, err
	})
	return number, d, err
}

func (s *Server) pullPayloadLocked(r *repo, i *issue, action, sender string, more object) (object, error) {
	o, err := s.fullPullJSON(r, i)
	if err != nil {
		return nil, err
	}
	return s.payloadLocked(r, sender, with(object{"action": action, "number": i.number, "pull_request": o}, more)), nil
}

// SynchronizePullRequest takes the head's branch as it is now into a pull request, as a push to that branch does.
func (s *Server) SynchronizePullRequest(fullName string, number int) (Delivery, error) {
	return s.deliver("pull_request", func() (*repo, object, error) {
		r, i, err := s.pullLocked(fullName, number)
		if err != nil {
			return nil, nil, err
		}
		if !i.open {
			return nil, nil, fmt.Errorf("pull request %d of %s is closed", number, fullName)
		}
		before := i.pull.headSHA
		if err := s.refreshPullLocked(r, i); err != nil {
			return nil, nil, fmt.Errorf("synchronizing pull request %d of %s: %w", number, fullName, err)
		}
		if before == i.pull.headSHA {
			return nil, nil, fmt.Errorf("nothing was pushed to pull request %d of %s", number, fullName)
		}
		payload, err := s.pullPayloadLocked(r, i, "synchronize", i.pull.headOwner, object{"before": before, "after": i.pull.headSHA})
		return r, payload, err
	})
}

// ReopenPullRequest opens a closed pull request again.
func (s *Server) ReopenPullRequest(fullName string, number int) (Delivery, error) {
	return s.deliver("pull_request", func() (*repo, object, error) {
		r, i, err := s.pullLocked(fullName, number)
		if err != nil {
			return nil, nil, err
		}
		if i.open || !i.pull.merged.IsZero() {
			return nil, nil, fmt.Errorf("pull request %d of %s cannot be reopened", number, fullName)
		}
		i.open, i.closed = true, time.Time{}
		payload, err := s.pullPayloadLocked(r, i, "reopened", i.user, nil)
		return r, payload, err
	})
}

// ClosePullRequest closes a pull request. Merging it moves its base branch, which Push then tells.
func (s *Server) ClosePullRequest(fullName string, number int, merge bool) (Delivery, error) {
	return s.deliver("pull_request", func() (*repo, object, error) {
		r, i, err := s.pullLocked(fullName, number)
		if err != nil {
			return nil, nil, err
		}
		if err := s.closePullLocked(r, i, r.owner, merge); err != nil {
			return nil, nil, err
		}
		payload, err := s.pullPayloadLocked(r, i, "closed", r.owner, nil)
		return r, payload, err
	})
}

// Comment writes a comment on an issue or a pull request, as a user.
func (s *Server) Comment(fullName string, number int, login, body string) (Comment, Delivery, error) {
	var comment Comment
	d, err := s.deliver("issue_comment", func() (*repo, object, error) {
		r, err := s.namedRepoLocked(fullName)
		if err != nil {
			return nil, nil, err
		}
		i := r.issue(number)
		if i == nil {
			return nil, nil, fmt.Errorf("number %d of %s: %w", number, fullName, fs.ErrNotExist)
		}
		c := s.addCommentLocked(r, i, login, body)
		comment = *c
		return r, s.commentPayload(r, i, c, "created", login), nil
	})
	return comment, d, err
}

func (s *Server) commentPayload(r *repo, i *issue, c *Comment, action, sender string) object {
	return s.payloadLocked(r, sender, object{"action": action, "issue": s.issueJSON(r, i), "comment": s.commentJSON(r, i, c)})
}

// Rerequest asks for a check run again, as the button Re-run does.
func (s *Server) Rerequest(checkRun int64, login string) (Delivery, error) {
	return s.aboutRun(checkRun, login, "rerequested", nil)
}

// RequestAction presses one of the buttons that the app has put on a check run. There are none before the run is completed.
func (s *Server) RequestAction(checkRun int64, login, identifier string) (Delivery, error) {
	return s.aboutRun(checkRun, login, "requested_action", object{"requested_action": object{"identifier": identifier}})
}

func (s *Server) aboutRun(checkRun int64, login, action string, more object) (Delivery, error) {
	return s.deliver("check_run", func() (*repo, object, error) {
		for _, run := range s.runs {
			if run.ID != checkRun {
				continue
			}
			r := s.repos[s.suites[run.SuiteID].repo]
			if r == nil {
				break
			}
			if run.Status != "completed" {
				return nil, nil, fmt.Errorf("check run %d is not completed", checkRun)
			}
			if pressed, ok := more["requested_action"].(object); ok &&
				!slices.ContainsFunc(run.Actions, func(a Action) bool { return a.Identifier == pressed["identifier"] }) {
				return nil, nil, fmt.Errorf("check run %d has no button %q: %w", checkRun, pressed["identifier"], fs.ErrNotExist)
			}
			return r, with(s.checkRunPayload(r, run, action), with(object{"sender": s.userJSON(login)}, more)), nil
		}
		return nil, nil, fmt.Errorf("check run %d: %w", checkRun, fs.ErrNotExist)
	})
}

func (s *Server) checkRunPayload(r *repo, run *CheckRun, action string) object {
	o := s.checkRunJSON(r, run)
	if x, err := s.suiteJSON(r, s.suites[run.SuiteID]); err == nil {
		// The suite inside a check run has less than a suite on its own.
		delete(x, "latest_check_runs_count")
		delete(x, "check_runs_url")
		delete(x, "head_commit")
		o["check_suite"] = x
	}
	return s.payloadLocked(r, s.botName(), object{"action": action, "check_run": o})
}

// RerequestSuite asks for all checks of a commit again, as the button Re-run all checks does.
func (s *Server) RerequestSuite(id int64, login string) (Delivery, error) {
	return s.deliver("check_suite", func() (*repo, object, error) {
		x := s.suites[id]
		if x == nil || s.repos[x.repo] == nil {
			return nil, nil, fmt.Errorf("check suite %d: %w", id, fs.ErrNotExist)
		}
		r := s.repos[x.repo]
		o, err := s.suiteJSON(r, x)
		if err != nil {
			return nil, nil, err
		}
		return r, s.payloadLocked(r, login, object{"action": "rerequested", "check_suite": o}), nil
	})
}

// echoLocked delivers an event that the app has caused itself, if Options ask for these.
func (s *Server) echoLocked(event, action string, r *repo, build func() object) {
	if !s.echo {
		return
	}
	payload := build()
	s.later(func() { s.deliver(event, func() (*repo, object, error) { return r, payload, nil }) })
}
