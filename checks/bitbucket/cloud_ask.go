package bitbucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"
)

// pullFields are what is asked for of a pull request.
const pullFields = "id,title,state,draft,author.type,author.account_id,author.nickname,author.display_name," +
	"source.branch.name,source.commit.hash,source.repository.uuid,source.repository.full_name," +
	"destination.branch.name,destination.commit.hash,destination.repository.uuid,merge_commit.hash,updated_on"

// A cloudEnd is where a pull request comes from, or where it goes.
type cloudEnd struct {
	Branch     struct{ Name string }
	Commit     *struct{ Hash string }
	Repository *struct {
		UUID     string
		FullName string `json:"full_name"`
	}
}

// A cloudPull is a pull request as Cloud sends it: with hashes of twelve digits.
type cloudPull struct {
	ID          int
	Title       string
	State       string
	Draft       bool
	Author      *cloudUser
	Source      cloudEnd
	Destination cloudEnd
	MergeCommit *struct{ Hash string } `json:"merge_commit"`
	UpdatedOn   time.Time              `json:"updated_on"`
}

// pull gives a pull request with its hashes as they are.
func (p *cloudPull) pull(r store.Repo) store.PullRequest {
	pr := store.PullRequest{Number: p.ID, Open: p.State == "OPEN", Title: p.Title, Author: p.Author.account(), Draft: p.Draft, Updated: p.UpdatedOn,
		HeadRef: "refs/heads/" + p.Source.Branch.Name, BaseRef: "refs/heads/" + p.Destination.Branch.Name}
	if c := p.Source.Commit; c != nil {
		pr.Head = c.Hash
	}
	if c := p.Destination.Commit; c != nil {
		pr.Base = c.Hash
	}
	if c := p.MergeCommit; c != nil && p.State == "MERGED" {
		pr.Merged = c.Hash
	}
	if from := p.Source.Repository; from != nil {
		pr.HeadRepo = bare(from.UUID)
		if pr.HeadRepo != r.ID {
			pr.HeadName = from.FullName
		}
	}
	return pr
}

// pullRequest implements api.
func (a cloud) pullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error) {
	var p cloudPull
	if err := a.do(ctx, r, http.MethodGet, fmt.Sprintf("/pullrequests/%d?fields=%s", number, pullFields), nil, &p); err != nil {
		return store.PullRequest{}, err
	}
	pr := p.pull(r)
	err := a.complete(ctx, r, &pr)
	return pr, err
}

// complete implements api. The commits of a fork are asked for there, and in the repository itself if the fork cannot be read: it shows
// those of its pull requests as well, and is asked for everything then.
func (a cloud) complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error {
	head := headOf(r, pr)
	ours := pr.HeadRepo == r.ID
	hash, err := a.newest(ctx, head, pr, ours || pr.HeadName != "")
	if head.ID != r.ID && errors.Is(err, store.ErrNotFound) {
		if hash, err = a.resolve(ctx, r, pr.Head, false); err == nil {
			pr.HeadName = ""
		}
	}
	// What was found before holds when a fork is gone, but for this pull request alone: whoever has a fork can make a commit there whose
	// hash begins like another's.
	own := fmt.Sprintf("%s/%d", r.ID, pr.Number)
	if known, ok := a.known.full(own, pr.Head); ok && errors.Is(err, store.ErrNotFound) {
		hash, err = known, nil
	}
	if err != nil {
		return fmt.Errorf("the newest commit of pull request %d: %w", pr.Number, err)
	}
	if hash != pr.Head {
		a.known.resolved(own, pr.Head, hash)
	}
	pr.Head = hash
	// The commits of the base branch and of the merge may be gone, which matters to nobody.
	for _, of := range []*string{&pr.Base, &pr.Merged} {
		if *of == "" {
			continue
		}
		hash, err := a.resolve(ctx, r, *of, true)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("the commits of pull request %d: %w", pr.Number, err)
		}
		*of = hash
	}
	return nil
}

var shortHash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// newest gives the full hash of a pull request's newest commit. The branch that it comes from is asked for first: only who may write there
// decides on what it holds, while a hash may be made to begin like another. own says that r is the repository that it comes from.
func (a cloud) newest(ctx context.Context, r store.Repo, pr *store.PullRequest, own bool) (string, error) {
	branch, ok := strings.CutPrefix(pr.HeadRef, "refs/heads/")
	if _, known := a.known.full(r.ID, pr.Head); !own || !ok || known || !store.ValidRef(pr.HeadRef) || !shortHash.MatchString(pr.Head) || store.ValidHash(pr.Head) {
		return a.resolve(ctx, r, pr.Head, own)
	}
	tip, err := a.ref(ctx, r, "heads/"+branch)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if !strings.HasPrefix(tip.Hash, pr.Head) { // it has moved on, or is gone
		return a.resolve(ctx, r, pr.Head, own)
	}
	a.known.resolved(r.ID, pr.Head, tip.Hash)
	return tip.Hash, nil
}

// resolve gives the full hash of a shortened one. It is remembered unless it may be that of a fork.
func (a cloud) resolve(ctx context.Context, r store.Repo, short string, own bool) (string, error) {
	if store.ValidHash(short) {
		return short, nil
	}
	if !shortHash.MatchString(short) {
		return "", fmt.Errorf("%.80q is no hash of a commit: %w", short, store.ErrNotFound)
	}
	if hash, ok := a.known.full(r.ID, short); ok {
		return hash, nil
	}
	found, err := a.commitAt(ctx, r, "/commit/"+short)
	if errors.Is(err, store.ErrNotFound) {
		a.known.missed(r.ID, short, a.Now())
	}
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(found.Hash, short) {
		return "", fmt.Errorf("Bitbucket gives commit %s for %s", found.Hash, short)
	}
	if own {
		a.known.resolved(r.ID, short, found.Hash)
	}
	return found.Hash, nil
}

// commitAt asks for the commit at an address.
func (a cloud) commitAt(ctx context.Context, r store.Repo, path string) (store.Commit, error) {
	var got struct {
		Hash, Message string
		Target        struct{ Hash, Message string } // of a ref
	}
	if _, err := a.read(ctx, r, path+"?fields=hash,message,target.hash,target.message", &got); err != nil {
		return store.Commit{}, err
	}
	commit := store.Commit{Hash: got.Hash, Message: got.Message}
	if got.Target.Hash != "" {
		commit = store.Commit{Hash: got.Target.Hash, Message: got.Target.Message}
	}
	if !store.ValidHash(commit.Hash) {
		return store.Commit{}, fmt.Errorf("Bitbucket names no commit for %s", pattern(path))
	}
	return commit, nil
}

// read asks for something of a repository's commits. That a fork of somebody else's may not be read is nobody's mistake: what is asked for
// is not there.
func (a cloud) read(ctx context.Context, r store.Repo, path string, v any) (*answer, error) {
	c, err := a.of(r)
	if err != nil {
		return nil, err
	}
	foreign := !c.owns(r.Name)
	q := request{method: http.MethodGet, path: "/repositories/" + a.path(r) + path, quiet: foreign}
	if v == nil { // a file as it is
		q.header = http.Header{"Accept": {"*/*"}}
	}
	got, err := a.send(ctx, c, q, v)
	if foreign && statusOf(err) == http.StatusForbidden {
		err = fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return got, err
}

// commit implements api. A full hash comes before a branch of that name, a shortened one after it.
func (a cloud) commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	if number, ok := strings.CutPrefix(version, "pr/"); ok {
		if n, err := strconv.Atoi(number); err == nil {
			pr, err := a.pullRequest(ctx, r, n)
			if err != nil {
				return store.Commit{}, err
			}
			return a.commitAt(ctx, headOf(r, &pr), "/commit/"+pr.Head)
		}
	}
	if version == "" {
		branch, err := a.mainBranch(ctx, r)
		if err != nil {
			return store.Commit{}, err
		}
		version = "heads/" + branch
	} else if store.ValidHash(version) {
		return a.commitAt(ctx, r, "/commit/"+version)
	}
	missing := fmt.Errorf("%.200q: %w", version, store.ErrNotFound)
	for _, ref := range store.NamedRefs(version, "") {
		commit, err := a.ref(ctx, r, ref)
		if !errors.Is(err, store.ErrNotFound) {
			return commit, err
		}
		missing = err
	}
	if shortHash.MatchString(version) {
		commit, err := a.commitAt(ctx, r, "/commit/"+version)
		if err == nil && !strings.HasPrefix(commit.Hash, version) {
			err = missing
		}
		return commit, err
	}
	return store.Commit{}, missing
}

// headOf is the repository that has the newest commit of a pull request.
func headOf(r store.Repo, pr *store.PullRequest) store.Repo {
	if pr.HeadName != "" && pr.HeadRepo != r.ID {
		r.ID, r.Name = pr.HeadRepo, pr.HeadName
	}
	return r
}

// ref gives the commit of heads/<branch> or tags/<tag>.
func (a cloud) ref(ctx context.Context, r store.Repo, name string) (store.Commit, error) {
	if branch, ok := strings.CutPrefix(name, "heads/"); ok {
		return a.commitAt(ctx, r, "/refs/branches/"+escape(branch))
	}
	return a.commitAt(ctx, r, "/refs/tags/"+escape(strings.TrimPrefix(name, "tags/")))
}

// mainBranch is the default branch of a repository.
func (a cloud) mainBranch(ctx context.Context, r store.Repo) (string, error) {
	if r.DefaultBranch != "" {
		return r.DefaultBranch, nil
	}
	var got cloudRepository
	if err := a.do(ctx, r, http.MethodGet, "?fields="+repositoryFields, nil, &got); err != nil {
		return "", err
	}
	if got.MainBranch == nil || got.MainBranch.Name == "" {
		return "", fmt.Errorf("%s has no main branch: %w", r.Name, store.ErrNotFound)
	}
	return got.MainBranch.Name, nil
}

// fileID implements api. At the address of a directory there is a list of what is in it; that a file is not there and that its commit is
// not is told apart by asking for the commit.
func (a cloud) fileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return "", nil // no file has such a name
		}
	}
	got, err := a.read(ctx, r, "/src/"+url.PathEscape(commit)+"/"+escape(path), nil)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if _, err := a.commitAt(ctx, r, "/commit/"+url.PathEscape(commit)); err != nil {
			return "", err
		}
		return "", nil
	case err != nil:
		return "", err
	case isListing(got.body):
		return "", nil
	}
	sum := sha256.Sum256(got.body)
	return hex.EncodeToString(sum[:]), nil
}

// isListing reports whether a text is a list of a directory and nothing else: no buildspec can be one.
func isListing(body []byte) bool {
	var page struct {
		PageLen, Page, Size json.RawMessage
		Next, Previous      json.RawMessage
		Values              []struct{ Type string }
	}
	if !bytes.HasPrefix(body, []byte("{")) || json.Unmarshal(body, &page) != nil || page.PageLen == nil || page.Values == nil {
		return false
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(body, &keys) != nil {
		return false
	}
	for _, key := range []string{"pagelen", "page", "size", "next", "previous", "values"} {
		delete(keys, key)
	}
	for _, entry := range page.Values {
		if entry.Type != "commit_file" && entry.Type != "commit_directory" {
			return false
		}
	}
	return len(keys) == 0
}

// owns implements api. Cloud gives commits of forks by their hashes as well. Those of the repository itself are what the branch or tag of
// that name holds, the heads of branches and tags, and what its main branch leads to; whether another branch leads to a commit, Cloud
// does not tell in a few questions.
func (a cloud) owns(ctx context.Context, r store.Repo, version, commit string) (bool, error) {
	for _, ref := range store.NamedRefs(version, commit) {
		c, err := a.ref(ctx, r, ref)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if c.Hash == commit {
			return true, nil
		}
	}
	refs, _, err := a.refs(ctx, r)
	if err != nil {
		return false, err
	}
	for _, hash := range refs {
		if hash == commit {
			return true, nil
		}
	}
	branch, err := a.mainBranch(ctx, r)
	if err == nil {
		var tip store.Commit
		if tip, err = a.ref(ctx, r, "heads/"+branch); err == nil {
			// By hashes: a branch may be called anything.
			var base store.Commit
			base, err = a.commitAt(ctx, r, "/merge-base/"+commit+".."+tip.Hash)
			if err == nil {
				return base.Hash == commit, nil
			}
		}
	}
	if errors.Is(err, store.ErrNotFound) { // they have nothing in common
		err = nil
	}
	return false, err
}

// maxRefPages is how many pages of refs, a hundred each, and of pull requests, fifty each, are read of a repository.
const maxRefPages = 20

// refs gives the branches and tags of a repository, those that changed last first to be read.
func (a cloud) refs(ctx context.Context, r store.Repo) (refs map[string]string, part bool, err error) {
	c, err := a.of(r)
	if err != nil {
		return nil, false, err
	}
	refs = map[string]string{}
	query := url.Values{"sort": {"-target.date"}, "fields": {"next,values.type,values.name,values.target.hash"}}
	type ref struct {
		Type, Name string
		Target     struct{ Hash string }
	}
	found, part, err := each[ref](ctx, a.Host, c, "/repositories/"+a.path(r)+"/refs", query, 100, maxRefPages)
	for _, one := range found {
		name := "refs/heads/" + one.Name
		if one.Type != "branch" {
			name = "refs/tags/" + one.Name
		}
		if store.ValidRef(name) && store.ValidHash(one.Target.Hash) {
			refs[name] = one.Target.Hash
		}
	}
	return refs, part, err
}

// look implements api: two questions of a repository that is small. Hashes of pull requests are shortened; most of them are those of
// refs.
func (a cloud) look(ctx context.Context, r store.Repo) (store.Standing, error) {
	c, err := a.of(r)
	if err != nil {
		return store.Standing{}, err
	}
	refs, part, err := a.refs(ctx, r)
	if err != nil {
		return store.Standing{}, err
	}
	s := store.Standing{Refs: refs, Part: part}
	query := url.Values{"state": {"OPEN"}, "sort": {"-updated_on"}, "fields": {"next," + prefixed("values.", pullFields)}}
	pulls, part, err := each[cloudPull](ctx, a.Host, c, "/repositories/"+a.path(r)+"/pullrequests", query, 50, maxRefPages)
	if err != nil {
		return store.Standing{}, err
	}
	s.Part = s.Part || part
	asked := 0
	for n := range pulls {
		pr := pulls[n].pull(r)
		if pr.HeadRepo == r.ID {
			expand(&pr.Head, refs[pr.HeadRef])
		}
		expand(&pr.Base, refs[pr.BaseRef])
		unknown, lost := a.recall(r, &pr)
		if asked += unknown; lost || unknown > 0 && asked > maxAsked {
			s.Part = true // what is found now need not be asked for in the next look
			continue
		}
		err := a.complete(ctx, r, &pr)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.Part = true // of a fork that cannot be read
		case err != nil:
			return store.Standing{}, err
		default:
			s.Pulls = append(s.Pulls, pr)
		}
	}
	return s, nil
}

const (
	// maxAsked is how many hashes are asked for in a look at most: anybody may open pull requests.
	maxAsked = 30
	// missedFor is how long a look does not ask again for a commit that was not there.
	missedFor = time.Hour
)

// recall gives a pull request the hashes that are known. unknown is how many must be asked for; lost says that the newest commit was not
// there a while ago.
func (a cloud) recall(r store.Repo, pr *store.PullRequest) (unknown int, lost bool) {
	now := a.Now()
	if hash, ok := a.known.full(r.ID, pr.Base); ok {
		pr.Base = hash
	} else if a.known.lately(r.ID, pr.Base, now) {
		pr.Base = ""
	} else if pr.Base != "" && !store.ValidHash(pr.Base) {
		unknown++
	}
	if store.ValidHash(pr.Head) {
		return unknown, false
	}
	head := headOf(r, pr)
	if hash, ok := a.known.full(head.ID, pr.Head); ok {
		pr.Head = hash
		return unknown, false
	}
	if !a.known.lately(head.ID, pr.Head, now) {
		return unknown + 1, false
	}
	// Of a fork that cannot be read, or is gone.
	if hash, ok := a.known.full(fmt.Sprintf("%s/%d", r.ID, pr.Number), pr.Head); ok {
		pr.Head, pr.HeadName = hash, ""
		return unknown, false
	}
	return unknown, true
}

// expand puts a full hash in place of a shortened one that it begins with.
func expand(short *string, full string) {
	if shortHash.MatchString(*short) && strings.HasPrefix(full, *short) {
		*short = full
	}
}

// acknowledge implements api. Cloud has no reactions: what comes of a comment is seen in statuses and replies.
func (cloud) acknowledge(context.Context, store.Repo, store.Comment, store.Reaction) error {
	return nil
}
