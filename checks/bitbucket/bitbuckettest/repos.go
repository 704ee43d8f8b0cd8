package bitbuckettest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A repo is a repository.
type repo struct {
	id          int64
	uuid        string
	dir         string // of the bare repository
	workspace   string // in small letters; on Data Center the project's key, or ~user
	slug        string
	project     string // the project's key
	private     bool
	branch      string // the default branch
	parent      *repo  // that it is a fork of; nil if it is none or that is gone
	created     time.Time
	refs        map[string]string // as hooks know them
	permissions grants
	pulls       []*pull
}

// name is how methods name the repository.
func (r *repo) name() string { return r.workspace + "/" + r.slug }

// RepoOptions of a new repository.
type RepoOptions struct {
	Private       bool   `json:"private"`
	DefaultBranch string `json:"default_branch"` // main
	Project       string `json:"project"`        // the key of the project, on Cloud; the workspace's name in capitals
}

// A Repository is what there is to know of one.
type Repository struct {
	ID      int64  `json:"id"`   // Data Center's
	UUID    string `json:"uuid"` // Cloud's, without braces
	Name    string `json:"name"` // as its flavour writes it: octo/shop or OCTO/shop
	Project string `json:"project"`
	Private bool   `json:"private"`
	Parent  string `json:"parent"` // of a fork
}

func (s *Server) publicRepo(r *repo) Repository {
	p := Repository{ID: r.id, UUID: r.uuid, Name: s.flavor.fullName(r), Project: r.project, Private: r.private}
	if r.parent != nil {
		p.Parent = s.flavor.fullName(r.parent)
	}
	return p
}

// repoLocked finds a repository by its name, or by its uuid in braces behind any workspace, which Cloud takes too.
func (s *Server) repoLocked(name string) *repo {
	workspace, slug, _ := strings.Cut(name, "/")
	for _, r := range s.repos {
		if strings.EqualFold(r.name(), name) {
			return r
		}
		if s.name == Cloud && strings.EqualFold(slug, "{"+r.uuid+"}") && (workspace == "{}" || strings.EqualFold(workspace, r.workspace)) {
			return r
		}
	}
	return nil
}

func (s *Server) namedRepoLocked(name string) (*repo, error) {
	if r := s.repoLocked(name); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("the repository %s: %w", name, fs.ErrNotExist)
}

// AddRepo makes a repository without a commit, or takes the one that an earlier server has left in the directory.
func (s *Server) AddRepo(name string, o RepoOptions) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.newRepoLocked(name, o)
	if err != nil {
		return Repository{}, err
	}
	if err := s.flavor.host().Init(r.dir, r.branch); err != nil {
		return Repository{}, fmt.Errorf("making %s: %w", name, err)
	}
	s.repos = append(s.repos, r)
	r.refs, err = forgetest.Refs(r.dir)
	return s.publicRepo(r), err
}

func (s *Server) newRepoLocked(name string, o RepoOptions) (*repo, error) {
	workspace, slug, found := strings.Cut(strings.ToLower(name), "/")
	if !found || workspace == "" || slug == "" || strings.ContainsAny(slug, "/\\ {}") || strings.HasPrefix(slug, ".") {
		return nil, fmt.Errorf("%q is no name of a repository, such as octo/shop", name)
	}
	if s.repoLocked(name) != nil {
		return nil, fmt.Errorf("the repository %s: %w", name, fs.ErrExist)
	}
	if owner, personal := strings.CutPrefix(workspace, "~"); personal {
		s.userLocked(owner)
	}
	key := workspace
	if s.name == Cloud {
		key = cmp.Or(o.Project, workspace)
	}
	r := &repo{id: s.nextIDLocked("repository"), uuid: forgetest.NewGUID(), workspace: workspace, slug: slug, project: s.projectLocked(key).key, private: o.Private,
		branch: cmp.Or(o.DefaultBranch, "main"), created: s.now(), permissions: newGrants(), refs: map[string]string{}}
	r.dir = filepath.Join(s.dir, workspace, slug+".git")
	return r, nil
}

// Repo returns a repository.
func (s *Server) Repo(name string) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(name)
	if err != nil {
		return Repository{}, err
	}
	return s.publicRepo(r), nil
}

// AddFork makes a fork of a repository in another workspace, that of its owner, with the same slug. It returns its name.
func (s *Server) AddFork(name, owner string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.namedRepoLocked(name)
	if err != nil {
		return "", err
	}
	fork, err := s.newRepoLocked(owner+"/"+parent.slug, RepoOptions{Private: parent.private, DefaultBranch: parent.branch})
	if err != nil {
		return "", err
	}
	fork.parent = parent
	s.userLocked(strings.TrimPrefix(owner, "~"))
	if err := s.flavor.host().Clone(parent.dir, fork.dir); err != nil {
		return "", fmt.Errorf("forking %s: %w", name, err)
	}
	s.repos = append(s.repos, fork)
	fork.refs, err = forgetest.Refs(fork.dir)
	return s.flavor.fullName(fork), err
}

// RepoDir returns the directory of a bare repository.
func (s *Server) RepoDir(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(name)
	if err != nil {
		return "", err
	}
	return r.dir, nil
}

// CloneURL returns the address that git is told for a repository, without a token.
func (s *Server) CloneURL(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repoLocked(name)
	if r == nil {
		return ""
	}
	return s.url + s.flavor.clonePath(r)
}

// Rename gives a repository another slug, and tells its hooks.
func (s *Server) Rename(name, slug string) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		r, err := s.namedRepoLocked(name)
		if err != nil {
			return nil, err
		}
		old := s.flavor.fullName(r)
		if slug == "" || strings.ContainsAny(slug, "/\\ {}") {
			return nil, fmt.Errorf("%q is no name for a repository", slug)
		}
		if s.repoLocked(r.workspace+"/"+slug) != nil {
			return nil, fmt.Errorf("the repository %s: %w", slug, fs.ErrExist)
		}
		before := r.name()
		r.slug = strings.ToLower(slug)
		for _, t := range s.tokens {
			if strings.EqualFold(t.Reach, before) { // a token is a repository's, whatever that is called
				t.Reach = r.name()
			}
		}
		return []event{{kind: repoRenamed, repo: r, actor: s.ownerLocked(r), oldName: old}}, nil
	})
}

// SetVisibility makes a repository private or public, and tells its hooks.
func (s *Server) SetVisibility(name string, private bool) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		r, err := s.namedRepoLocked(name)
		if err != nil {
			return nil, err
		}
		if r.private == private {
			return nil, errors.New("it is already")
		}
		r.private = private
		return []event{{kind: repoVisibility, repo: r, actor: s.ownerLocked(r), oldName: s.flavor.fullName(r)}}, nil
	})
}

// Delete deletes a repository, and tells its hooks, which go with it. Its forks stay, and pull requests from it lose their
// source.
func (s *Server) Delete(name string) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		r, err := s.namedRepoLocked(name)
		if err != nil {
			return nil, err
		}
		return []event{{kind: repoDeleted, repo: r, actor: s.ownerLocked(r)}}, s.removeLocked(r)
	})
}

// removeLocked removes a repository and what refers to it.
func (s *Server) removeLocked(gone *repo) error {
	s.repos = slices.DeleteFunc(s.repos, func(r *repo) bool { return r == gone })
	for _, r := range s.repos {
		if r.parent == gone {
			r.parent = nil
		}
		for _, p := range r.pulls {
			if p.source == gone {
				p.source = nil
			}
		}
	}
	return os.RemoveAll(gone.dir)
}

// DeleteFork deletes the fork that a pull request comes from, of which the hooks of the repository are not told.
func (s *Server) DeleteFork(name string, number int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, p, err := s.pullLocked(name, number)
	if err != nil {
		return err
	}
	if p.source == nil || p.source == p.repo {
		return fmt.Errorf("pull request %d of %s comes from no fork", number, name)
	}
	return s.removeLocked(p.source)
}

// ownerLocked is who does what nobody is named for.
func (s *Server) ownerLocked(r *repo) *User {
	return s.userLocked(strings.TrimPrefix(r.workspace, "~"))
}

// dirOfLocked finds a directory in which all of some commits are: that of the repository or, because forges let pull requests
// show the commits of their forks, that of a fork. The commits of the repository are fetched there, where no ref shows them.
func (s *Server) dirOfLocked(r *repo, hashes ...string) (dir string, ok bool) {
	all := func(dir string) bool {
		return !slices.ContainsFunc(hashes, func(h string) bool { _, found := forgetest.Resolve(dir, h); return !found })
	}
	if all(r.dir) {
		return r.dir, true
	}
	for _, p := range r.pulls {
		if p.source == nil || p.source == r {
			continue
		}
		if all(p.source.dir) {
			return p.source.dir, true
		}
		args := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", r.dir}
		refs, err := forgetest.Refs(r.dir)
		if err != nil {
			return "", false
		}
		if _, err := s.flavor.host().Git(p.source.dir, nil, append(args, slices.Collect(maps.Keys(refs))...)...); err == nil && all(p.source.dir) {
			return p.source.dir, true
		}
	}
	return "", false
}
