package store

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// A RepoState is what the store remembers of a repository.
type RepoState struct {
	Repo  Repo
	Epoch int // raised to make every link given out so far worthless

	Archived bool `json:",omitempty"` // the forge takes no changes of it
	Gone     bool `json:",omitempty"` // it was deleted, or may not be seen from here any longer
	// Took is the key of the repository that had the name before, if that was there still when this one took it.
	Took string `json:",omitempty"`
	// Checks are the names of the checks of builds that it ever had, with the keys of their projects: branch protection may wait
	// for them.
	Checks map[string]string `json:",omitempty"`
}

// A Project is a repository's buildspec under its name. A repository has one by itself; a configured repository has those
// that are configured.
type Project struct {
	Key        string // of the repository, and the name behind a slash if it was configured
	Name       string // unique; CodeBuild's characters
	Repo       Repo
	Configured bool   `json:",omitempty"`
	As         string `json:",omitempty"` // the repository's name when a configured project was made: the configuration's
	Builds     int    // number of the last build
}

// Repo remembers a repository as it is now, and returns what is known of it. If it has become private since, the links to
// its pages become worthless.
func (tx *Tx) Repo(r Repo) (RepoState, error) {
	key := []byte(r.Key())
	state, _, err := get[RepoState](tx, bucketRepos, key)
	if err != nil || state.Repo == r {
		return state, err
	}
	if r.Private && !state.Repo.Private && state.Repo.ID != "" {
		state.Epoch++
	}
	if state.Repo.Name != r.Name {
		if state.Took, err = tx.tookName(r); err != nil {
			return state, err
		}
	}
	state.Repo = r
	if err := tx.nameRepo(r); err != nil {
		return state, err
	}
	if err := put(tx, bucketRepos, key, state); err != nil {
		return state, err
	}
	projects, err := tx.ProjectsOf(r, math.MaxInt)
	for _, p := range projects {
		p.Repo = r
		err = errors.Join(err, put(tx, bucketProjects, []byte(p.Key), p))
	}
	return state, err
}

// ProjectByKey is a project; ok is false if there is none of that key.
func (tx *Tx) ProjectByKey(key string) (p Project, ok bool, err error) {
	return get[Project](tx, bucketProjects, []byte(key))
}

// ChangeRepo lets fn change what is known of a repository. One that is not known stays unknown.
func (tx *Tx) ChangeRepo(key string, fn func(*RepoState)) error {
	state, ok, err := get[RepoState](tx, bucketRepos, []byte(key))
	if err != nil || !ok {
		return err
	}
	fn(&state)
	return put(tx, bucketRepos, []byte(key), state)
}

// addCheck remembers that a repository has a check of that name, which belongs to a project.
func (tx *Tx) addCheck(p Project, name string) error {
	state, _, err := get[RepoState](tx, bucketRepos, []byte(p.Repo.Key()))
	if err != nil || state.Checks[name] == p.Key {
		return err
	}
	if state.Repo.ID == "" {
		if state.Took, err = tx.tookName(p.Repo); err != nil {
			return err
		}
		state.Repo = p.Repo
		if err := tx.nameRepo(p.Repo); err != nil {
			return err
		}
	}
	if state.Checks == nil {
		state.Checks = map[string]string{}
	}
	state.Checks[name] = p.Key
	return put(tx, bucketRepos, []byte(p.Repo.Key()), state)
}

// RepoState is what is known of a repository; the zero state if nothing is.
func (tx *Tx) RepoState(key string) (RepoState, error) {
	state, _, err := get[RepoState](tx, bucketRepos, []byte(key))
	return state, err
}

// RevokeLinks makes every link to the pages of a repository worthless.
func (tx *Tx) RevokeLinks(key string) error {
	state, ok, err := get[RepoState](tx, bucketRepos, []byte(key))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("repository %s: %w", key, ErrNotFound)
	}
	state.Epoch++
	return put(tx, bucketRepos, []byte(key), state)
}

// Project gives a repository's project, and makes it if it is new. The name is that of the configuration, or empty for
// the project that a repository has by itself; its name is made of the repository's.
func (tx *Tx) Project(r Repo, name string) (Project, error) {
	key := r.Key()
	if name != "" {
		key += "/" + name
	}
	p, ok, err := get[Project](tx, bucketProjects, []byte(key))
	if err != nil {
		return p, err
	}
	if ok && p.Repo == r {
		return p, nil
	}
	if !ok {
		p = Project{Key: key}
		if name != "" {
			p.Configured, p.As = true, r.Name
		}
		if p.Name, err = tx.freeName(name, r); err != nil {
			return p, err
		}
		if err := tx.bucket(bucketProjectNames).Put([]byte(p.Name), []byte(key)); err != nil {
			return p, err
		}
	}
	p.Repo = r
	return p, put(tx, bucketProjects, []byte(key), p)
}

// freeName is a project name that no other project has.
func (tx *Tx) freeName(name string, r Repo) (string, error) {
	taken := func(name string) bool { return tx.bucket(bucketProjectNames).Get([]byte(name)) != nil }
	if name == "" {
		name = ProjectName(r.Name)
	}
	if !taken(name) {
		return name, nil
	}
	for i := 2; i < 10_000; i++ {
		if n := fmt.Sprintf("%.140s-%d", name, i); !taken(n) {
			return n, nil
		}
	}
	return "", fmt.Errorf("project name %s: ten thousand are taken", name)
}

// ProjectName makes a project name of a repository's: CodeBuild allows letters, digits, - and _, 2 to 150 of them.
func ProjectName(repo string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '-'
	}, repo)
	name = name[:min(len(name), 140)]
	if len(name) < 2 {
		name = "project-" + name
	}
	return name
}

// ProjectByName is a project; ok is false if there is none of that name.
func (tx *Tx) ProjectByName(name string) (p Project, ok bool, err error) {
	key := tx.bucket(bucketProjectNames).Get([]byte(name))
	if key == nil {
		return p, false, nil
	}
	return get[Project](tx, bucketProjects, key)
}

// Projects are all projects, by key.
func (tx *Tx) Projects() ([]Project, error) {
	var list []Project
	err := tx.bucket(bucketProjects).ForEach(func(key, _ []byte) error {
		p, _, err := get[Project](tx, bucketProjects, key)
		list = append(list, p)
		return err
	})
	return list, err
}
