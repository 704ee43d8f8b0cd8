package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// dataCenter is the api of a Bitbucket Data Center.
// https://developer.atlassian.com/server/bitbucket/rest/latest/intro/
//
// Its addresses name repositories, which may be renamed or moved, and then another may take the name. Before anything is asked of a
// repository or told to it, it is made sure which one has its name now, once in a while.
type dataCenter struct {
	h *Host

	mu       sync.Mutex
	places   map[string]place        // by credential, id and name
	version  version                 // of the server
	asked    time.Time               // when the version was
	branches map[string]knownDefault // by repository
}

func newDataCenter(h *Host) *dataCenter {
	return &dataCenter{h: h, places: map[string]place{}, branches: map[string]knownDefault{}}
}

// habits are those of a server that is somebody's own, and limits nothing unless it is told to.
func (d *dataCenter) habits() checks.Habits {
	return checks.Habits{Interval: 200 * time.Millisecond, Burst: 20, Annotations: maxAnnotated, ByName: true}
}

// cloneURL has the key of the project in small letters, as Data Center shows it.
func (d *dataCenter) cloneURL(name string) string {
	key, slug, _ := strings.Cut(name, "/")
	return d.h.Web + "/scm/" + url.PathEscape(strings.ToLower(key)) + "/" + url.PathEscape(slug) + ".git"
}

func (d *dataCenter) links(name string) (commit, pull string) {
	repo := d.webURL(name)
	return repo + "/commits/", repo + "/pull-requests/"
}

// webURL is where people see a repository.
func (d *dataCenter) webURL(name string) string {
	key, slug, _ := strings.Cut(name, "/")
	owner := "/projects/" + url.PathEscape(key)
	if user, personal := strings.CutPrefix(key, "~"); personal {
		owner = "/users/" + url.PathEscape(strings.ToLower(user))
	}
	return d.h.Web + owner + "/repos/" + url.PathEscape(slug)
}

// cloneUser implements api: every token is good as a Bearer token, and not every one as a password.
// https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html
func (d *dataCenter) cloneUser(c *credential) string { return c.Username }

// basic is empty: every token is a Bearer token.
func (d *dataCenter) basic(*credential) string { return "" }

const (
	// placeAge is how long it is believed that a repository has its name still.
	placeAge = time.Minute
	// placeDoubt is how old such a belief must be for an answer that there is no such thing to put it in doubt.
	placeDoubt = 5 * time.Second
	// maxPlaces bounds what is remembered of repositories.
	maxPlaces = 10_000
)

// A place is where a repository is now.
type place struct {
	at     time.Time
	name   string // KEY/slug, as Data Center writes it
	public bool
	owner  string // id of the person whose own it is; empty if it is a project's
	err    error  // it could not be found
}

func placeOf(r dcRepo) place {
	p := place{name: r.name(), public: r.Public}
	if r.Project.Owner != nil {
		p.owner = r.Project.Owner.account().ID
	}
	return p
}

// identify says where a repository is now: under its name, if that is its own still, or else wherever its credential shows one with
// its id.
func (d *dataCenter) identify(ctx context.Context, r store.Repo) (place, error) {
	d.mu.Lock()
	p, known := d.places[placeKey(r)]
	d.mu.Unlock()
	if age := d.h.Now().Sub(p.at); known && age >= 0 && age < placeAge {
		return p, p.err
	}
	p, err := d.find(ctx, r)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return p, err
	}
	p.err = err
	d.remember(r, p)
	return p, err
}

// remember keeps where a repository is.
func (d *dataCenter) remember(r store.Repo, p place) {
	p.at = d.h.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.places) >= maxPlaces {
		clear(d.places)
	}
	d.places[placeKey(r)] = p
}

// identifyNow is identify without belief: for what somebody could gain who takes the name of a repository.
func (d *dataCenter) identifyNow(ctx context.Context, r store.Repo) (place, error) {
	d.mu.Lock()
	delete(d.places, placeKey(r))
	d.mu.Unlock()
	return d.identify(ctx, r)
}

func placeKey(r store.Repo) string { return fmt.Sprint(r.Installation, " ", r.ID, " ", r.Name) }

// doubt forgets where a repository is, and reports whether that was not made sure just now.
func (d *dataCenter) doubt(r store.Repo) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, known := d.places[placeKey(r)]
	if !known || p.err != nil || d.h.Now().Sub(p.at) < placeDoubt {
		return false
	}
	delete(d.places, placeKey(r))
	return true
}

// find is identify without a memory.
func (d *dataCenter) find(ctx context.Context, r store.Repo) (place, error) {
	c, err := d.h.of(r)
	if err != nil {
		return place{}, err
	}
	has, err := d.byName(ctx, c, r.Name)
	if err == nil && (r.ID == "" || has.id() == r.ID) {
		return placeOf(has), nil
	}
	if trouble(err) != nil {
		return place{}, err
	}
	if r.ID != "" {
		moved, listErr := d.byID(ctx, c, r.ID)
		if moved != nil {
			return placeOf(*moved), nil
		}
		if listErr != nil { // nobody knows whether it is there
			return place{}, listErr
		}
	}
	if err != nil {
		return place{}, err
	}
	return place{}, fmt.Errorf("%s is another repository now, and the one with the id %s is not among those of its credential: %w", r.Name, r.ID, store.ErrNotFound)
}

// byName asks for a repository by its name.
func (d *dataCenter) byName(ctx context.Context, c *credential, name string) (dcRepo, error) {
	key, slug, _ := strings.Cut(name, "/")
	if !plainName(key) || !plainName(slug) {
		return dcRepo{}, fmt.Errorf("%q is no name of a repository: %w", clip(name, 200), store.ErrNotFound)
	}
	var has dcRepo
	if err := d.h.do(ctx, c, http.MethodGet, inRepo("api", "")(&place{name: name}), nil, &has); err != nil {
		return dcRepo{}, err
	}
	if now, slug, _ := strings.Cut(has.name(), "/"); has.id() == "" || !plainName(now) || !plainName(slug) {
		return dcRepo{}, fmt.Errorf("Bitbucket answers with no repository where %s was asked for", name)
	}
	return has, nil
}

// byID looks for a repository among those that a credential is for; nil if it is not there. An error says that it may be.
func (d *dataCenter) byID(ctx context.Context, c *credential, id string) (found *dcRepo, failed error) {
	for _, name := range c.Repositories {
		owner, slug, _ := strings.Cut(name, "/")
		if slug != "*" {
			has, err := d.byName(ctx, c, name)
			if err == nil && has.id() == id {
				return &has, nil
			}
			failed = cmp.Or(failed, trouble(err))
			continue
		}
		err := d.ofProject(ctx, c, owner, func(r dcRepo) bool {
			if r.id() == id {
				found = &r
			}
			return found == nil
		})
		if found != nil {
			return found, nil
		}
		failed = cmp.Or(failed, trouble(err))
	}
	return nil, failed
}

// trouble is an error that is no answer: neither that there is no such thing, nor that we may not see it.
func trouble(err error) error {
	if errors.Is(err, store.ErrNotFound) || denied(err) {
		return nil
	}
	return err
}

// ofProject gives the repositories of a project, or of a person.
func (d *dataCenter) ofProject(ctx context.Context, c *credential, key string, each func(dcRepo) bool) error {
	ask := func(ctx context.Context, query string, v any) error {
		return d.h.do(ctx, c, http.MethodGet, "/api/latest/projects/"+url.PathEscape(key)+"/repos?"+query, nil, v)
	}
	return pages(ctx, ask, nil, dcManyThings, func(r dcRepo) bool {
		if owner, slug, _ := strings.Cut(r.name(), "/"); r.id() == "" || !plainName(owner) || !plainName(slug) {
			return true
		}
		return each(r)
	})
}

// repo is a repository as the program has it.
func (d *dataCenter) repo(ctx context.Context, c *credential, r dcRepo) store.Repo {
	made := store.Repo{Forge: d.h.Name, Host: d.h.host(), ID: r.id(), Name: r.name(), CloneURL: d.cloneURL(r.name()), WebURL: d.webURL(r.name()),
		Private: !r.Public, Installation: c.number}
	d.remember(made, placeOf(r))
	made.DefaultBranch = d.defaultBranch(ctx, made)
	return made
}

func (d *dataCenter) repository(ctx context.Context, c *credential, name string) (store.Repo, error) {
	has, err := d.byName(ctx, c, name)
	if err != nil {
		return store.Repo{}, err
	}
	if has.Archived {
		return store.Repo{}, fmt.Errorf("%s is archived: nothing in it changes any more", has.name())
	}
	return d.repo(ctx, c, has), nil
}

func (d *dataCenter) within(ctx context.Context, c *credential, owner string) (list []store.Repo, err error) {
	var all []dcRepo
	if err := d.ofProject(ctx, c, owner, func(r dcRepo) bool {
		if !r.Archived {
			all = append(all, r)
		}
		return true
	}); err != nil {
		return nil, err
	}
	for _, r := range all {
		list = append(list, d.repo(ctx, c, r))
	}
	return list, nil
}

// defaultAge is how long a default branch is remembered.
const defaultAge = time.Hour

type knownDefault struct {
	at   time.Time
	name string
}

// defaultBranch is the name of a repository's default branch; empty if there is none, or nobody tells.
func (d *dataCenter) defaultBranch(ctx context.Context, r store.Repo) string {
	now := d.h.Now()
	d.mu.Lock()
	known, ok := d.branches[r.ID]
	d.mu.Unlock()
	if age := now.Sub(known.at); ok && age >= 0 && age < defaultAge {
		return known.name
	}
	var ref dcRef
	err := d.ask(ctx, r, dcRequest{where: inRepo("api", "/default-branch"), quiet: true}, &ref)
	name, isBranch := strings.CutPrefix(ref.ID, "refs/heads/")
	if err != nil || !isBranch || !store.ValidRef(ref.ID) {
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			d.h.Log.Debug("asking for the default branch", "repo", r.Name, "err", err)
		}
		return known.name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.branches) >= maxPlaces {
		clear(d.branches)
	}
	d.branches[r.ID] = knownDefault{now, name}
	return name
}
