package githubtest

import (
	"cmp"
	"fmt"
	"strings"

	"buildsmith/checks/forgetest"
)

// Release publishes a release of a tag and tells the app, as GitHub does: that it is created, published, and released or
// prereleased. A tag that is not there is made at the tip of the default branch, and the app is told of that first.
func (s *Server) Release(fullName, tag, name string, prerelease bool) ([]Delivery, error) {
	s.mu.Lock()
	r, err := s.namedRepoLocked(fullName)
	made := false
	if err == nil {
		made, err = s.tagLocked(r, tag)
	}
	id := s.nextIDLocked("release")
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("releasing %s of %s: %w", tag, fullName, err)
	}
	var all []Delivery
	if made {
		d, err := s.Push(fullName, "refs/tags/"+tag)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	last := "released"
	if prerelease {
		last = "prereleased"
	}
	for _, action := range []string{"created", "published", last} {
		d, err := s.deliver("release", func() (*repo, object, error) {
			return r, s.payloadLocked(r, r.owner, object{"action": action, "release": s.releaseJSON(r, id, tag, name, prerelease)}), nil
		})
		if err != nil {
			return all, err
		}
		all = append(all, d)
	}
	return all, nil
}

// tagLocked makes a tag unless it is there.
func (s *Server) tagLocked(r *repo, tag string) (made bool, err error) {
	dir, ref := s.repoDir(r), "refs/tags/"+tag
	if _, found := forgetest.Resolve(dir, ref); found {
		return false, nil
	}
	head, err := git(dir, nil, "rev-parse", "--verify", "refs/heads/"+r.defaultBranch)
	if err != nil {
		return false, err
	}
	_, err = git(dir, nil, "update-ref", ref, strings.TrimSpace(head))
	return true, err
}

func (s *Server) releaseJSON(r *repo, id int64, tag, name string, prerelease bool) object {
	url := s.api("/repos/%s/releases/%d", r.fullName(), id)
	now := stamp(s.now())
	return object{
		"id": id, "node_id": nodeID("RE", id), "url": url, "assets_url": url + "/assets", "upload_url": url + "/assets{?name,label}",
		"html_url": s.url + "/" + r.fullName() + "/releases/tag/" + tag, "tag_name": tag, "target_commitish": r.defaultBranch,
		"name": cmp.Or(name, tag), "draft": false, "author": s.userJSON(r.owner), "prerelease": prerelease, "created_at": now, "published_at": now,
		"assets": []object{}, "tarball_url": s.api("/repos/%s/tarball/%s", r.fullName(), tag), "zipball_url": s.api("/repos/%s/zipball/%s", r.fullName(), tag),
		"body": "",
	}
}
