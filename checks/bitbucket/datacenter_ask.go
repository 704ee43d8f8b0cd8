package bitbucket

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"
)

// The shapes in which Data Center answers, as far as they are read.
type (
	dcUser struct {
		ID     int64
		Name   string
		Slug   string
		Active bool
		Type   string // NORMAL, or SERVICE of a token's own
	}
	dcRepo struct {
		ID       int64
		Slug     string
		Public   bool
		Archived bool // since 8.0
		Project  struct {
			Key   string
			Owner *dcUser // of a personal one
		}
	}
	dcCommit struct{ ID, Message string }
	dcRef    struct {
		ID           string // refs/heads/...
		LatestCommit string
		Repository   dcRepo // of a pull request's
	}
	dcPull struct {
		ID         int
		State      string
		Title      string
		Draft      bool  // since 8.18
		Updated    int64 `json:"updatedDate"`
		Author     struct{ User dcUser }
		FromRef    dcRef
		ToRef      dcRef
		Properties struct{ MergeCommit struct{ ID string } }
	}
)

func (u dcUser) account() store.Account {
	if u.ID <= 0 {
		return store.Account{Login: u.Name}
	}
	return store.Account{ID: strconv.FormatInt(u.ID, 10), Login: u.Name, Bot: u.Type == "SERVICE"}
}

// name is KEY/slug, and ~user/slug of a person's own. Data Center takes a key in any case, and shows it in capitals.
func (r dcRepo) name() string {
	key := r.Project.Key
	if strings.HasPrefix(key, "~") {
		key = strings.ToLower(key)
	}
	return key + "/" + r.Slug
}

func (r dcRepo) id() string {
	if r.ID <= 0 {
		return ""
	}
	return strconv.FormatInt(r.ID, 10)
}

// pull is a pull request as the program has it. Its head can be had from the repository that it goes to, also that of a fork.
func (p *dcPull) pull() store.PullRequest {
	pr := store.PullRequest{
		Number: p.ID, Open: p.State == "OPEN", Title: p.Title, Author: p.Author.User.account(), Head: p.FromRef.LatestCommit, HeadRef: p.FromRef.ID,
		HeadRepo: p.FromRef.Repository.id(), BaseRef: p.ToRef.ID, Base: p.ToRef.LatestCommit, Draft: p.Draft,
	}
	if p.Updated > 0 {
		pr.Updated = time.UnixMilli(p.Updated)
	}
	if p.State == "MERGED" {
		pr.Merged = p.Properties.MergeCommit.ID
	}
	return pr
}

func (d *dataCenter) pullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error) {
	var p dcPull
	if err := d.get(ctx, r, fmt.Sprintf("/pull-requests/%d", number), nil, &p); err != nil {
		return store.PullRequest{}, err
	}
	switch {
	case r.ID != "" && p.ToRef.Repository.id() != r.ID:
		return store.PullRequest{}, fmt.Errorf("pull request %d of %s goes to another repository, which has that name now: %w", number, r.Name, store.ErrNotFound)
	case p.ID != number:
		return store.PullRequest{}, fmt.Errorf("Bitbucket answers with pull request %d where %d was asked for", p.ID, number)
	}
	return p.pull(), nil
}

// complete has nothing to do where the hashes are full, as Data Center's are.
func (d *dataCenter) complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error {
	for _, hash := range []*string{&pr.Head, &pr.Base, &pr.Merged} {
		if store.ValidHash(*hash) || *hash == "" && hash != &pr.Head {
			continue
		}
		var c store.Commit
		err := fmt.Errorf("%q is no hash of a commit: %w", clip(*hash, 100), store.ErrNotFound)
		if isHash(*hash) {
			c, err = d.byHash(ctx, r, *hash)
		}
		if err != nil && (hash == &pr.Head || !errors.Is(err, store.ErrNotFound)) {
			return err
		}
		*hash = c.Hash
	}
	return nil
}

func (d *dataCenter) commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	if number, ok := strings.CutPrefix(version, "pr/"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 {
			pr, err := d.pullRequest(ctx, r, n)
			if err != nil {
				return store.Commit{}, err
			}
			version = pr.Head
		}
	}
	if version == "" {
		return d.newest(ctx, r, "")
	}
	if store.ValidHash(version) {
		return d.byHash(ctx, r, version)
	}
	if !store.ValidRef("refs/heads/" + version) {
		return store.Commit{}, fmt.Errorf("%q: %w", version, store.ErrNotFound)
	}
	for _, ref := range refsOf(version) {
		c, err := d.newest(ctx, r, ref)
		if !errors.Is(err, store.ErrNotFound) {
			return c, err
		}
	}
	if hash := strings.ToLower(version); isHash(hash) {
		return d.byHash(ctx, r, hash)
	}
	return store.Commit{}, fmt.Errorf("%s has no branch, tag or commit %q: %w", r.Name, version, store.ErrNotFound)
}

// shortestHash is how many digits name a commit at least.
const shortestHash = 4

// isHash reports whether a text is a hash, in full or its first digits.
func isHash(s string) bool {
	return len(s) >= shortestHash && strings.Trim(s, "0123456789abcdef") == ""
}

// refsOf are the full names that a version may mean, in the order in which they are looked for.
func refsOf(version string) []string {
	if strings.HasPrefix(version, "refs/") {
		return []string{version}
	}
	return fullNames(store.NamedRefs(version, ""))
}

func fullNames(short []string) (full []string) {
	for _, name := range short {
		full = append(full, "refs/"+name)
	}
	return full
}

// newest gives the commit that a ref leads to, of the default branch without one. Only the list of commits takes refs.
func (d *dataCenter) newest(ctx context.Context, r store.Repo, ref string) (store.Commit, error) {
	query := url.Values{"limit": {"1"}}
	if ref != "" {
		query.Set("until", ref)
	}
	var found dcPage[dcCommit]
	if err := d.get(ctx, r, "/commits", query, &found); err != nil {
		return store.Commit{}, err
	}
	if len(found.Values) == 0 {
		return store.Commit{}, fmt.Errorf("%s has no commit: %w", cmp.Or(ref, "the default branch"), store.ErrNotFound)
	}
	return found.Values[0].commit(cmp.Or(ref, "the default branch"))
}

// byHash gives the commit that a hash, in full or its first digits, names.
func (d *dataCenter) byHash(ctx context.Context, r store.Repo, hash string) (store.Commit, error) {
	var c dcCommit
	if err := d.get(ctx, r, "/commits/"+hash, nil, &c); err != nil {
		return store.Commit{}, err
	}
	if !strings.HasPrefix(c.ID, hash) {
		return store.Commit{}, fmt.Errorf("Bitbucket answers with commit %.40q where %s was asked for", c.ID, hash)
	}
	return c.commit(hash)
}

func (c dcCommit) commit(of string) (store.Commit, error) {
	if !store.ValidHash(c.ID) {
		return store.Commit{}, fmt.Errorf("Bitbucket names no commit for %q", of)
	}
	return store.Commit{Hash: c.ID, Message: c.Message}, nil
}

// owns looks at the branch or tag of that name, and then at which branches lead to the commit: Data Center gives the commits of
// forks by their hashes as well.
func (d *dataCenter) owns(ctx context.Context, r store.Repo, version, commit string) (bool, error) {
	for _, ref := range fullNames(store.NamedRefs(version, commit)) {
		c, err := d.newest(ctx, r, ref)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if c.Hash == commit {
			return true, nil
		}
	}
	var found dcPage[dcRef]
	err := d.ask(ctx, r, dcRequest{where: inRepo("branch-utils", "/branches/info/"+commit), query: url.Values{"limit": {"1"}}}, &found)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return len(found.Values) > 0, err
}

// fileID is the digest of the file's content.
func (d *dataCenter) fileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	if !store.ValidHash(commit) {
		return "", fmt.Errorf("%q is no full hash of a commit", commit)
	}
	content, err := d.answer(ctx, r, dcRequest{where: inRepo("api", "/raw/"+escape(path)), query: url.Values{"at": {commit}}}, nil)
	if errors.Is(err, store.ErrNotFound) || statusOf(err) == http.StatusBadRequest { // the latter of a directory
		// Of a file that is not there and a commit that is not there the same may be said.
		_, err := d.byHash(ctx, r, commit)
		return "", err
	}
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content.body)
	return hex.EncodeToString(sum[:]), nil
}
