package githubtest

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A user is a person, an organization or the app's own bot.
type user struct {
	id      int64
	login   string
	kind    string // User, Organization, Bot
	members []string
	token   string // for git over HTTP
}

// An installation is the app at one account.
type installation struct {
	id        int64
	account   string
	repos     map[int64]bool
	suspended time.Time // zero if it is not
	created   time.Time
	limit     limit
}

// A repo is a repository and what GitHub keeps beside it.
type repo struct {
	id            int64
	owner, name   string
	private       bool
	archived      bool
	defaultBranch string
	properties    map[string]any
	parent        int64             // the repository that it is a fork of
	roles         map[string]string // login => role
	refs          map[string]string // ref => hash, as of the last push that was delivered
	issues        []*issue
	created       time.Time
	pushed        time.Time
}

func (r *repo) fullName() string { return r.owner + "/" + r.name }

// An issue is an issue or a pull request; they share their numbers.
type issue struct {
	id               int64
	number           int
	user             string
	title, body      string
	open             bool
	created, updated time.Time
	closed           time.Time
	labels           []string
	pull             *pull // nil for a mere issue
}

// A pull is what a pull request has beyond an issue.
type pull struct {
	id        int64
	headOwner string
	headRepo  int64 // stays when the repository is deleted
	headRef   string
	headSHA   string
	baseRef   string
	baseSHA   string
	mergeSHA  string // of the test merge; empty if there are conflicts
	draft     bool
	merged    time.Time
	mergedBy  string
}

// ids gives out numbers. Each kind has a range of its own, so that a number used for the wrong kind is not found, and most
// are larger than 32 bits, as they are at GitHub.
type ids map[string]int64

var firstID = ids{
	"user": 20_000_001, "installation": 50_000_001, "repository": 600_000_001, "issue": 2_100_000_001, "pull": 2_600_000_001, "release": 170_000_001,
	"comment": 3_300_000_001, "reaction": 310_000_001, "suite": 35_000_000_001, "run": 36_000_000_001,
	"delivery": 150_000_000_001, "status": 33_000_000_001, "deployment": 2_900_000_001,
}

func (s *Server) nextIDLocked(kind string) int64 {
	if s.ids[kind] == 0 {
		s.ids[kind] = firstID[kind]
	}
	s.ids[kind]++
	return s.ids[kind] - 1
}

// RepoOptions of a new repository; the zero value is a public one with the app installed.
type RepoOptions struct {
	Private       bool           `json:"private"`
	Archived      bool           `json:"archived"`
	DefaultBranch string         `json:"default_branch"` // main
	NotInstalled  bool           `json:"not_installed"`  // the app may not see it
	Properties    map[string]any `json:"custom_properties"`
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// AddRepo makes an empty repository and returns its id. The owner becomes its admin and is made if there is no such user.
// A bare repository that is there already, below the directory of an earlier server, is used as it is.
func (s *Server) AddRepo(fullName string, o RepoOptions) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.addRepoLocked(fullName, o)
	if err != nil {
		return 0, fmt.Errorf("adding the repository %s: %w", fullName, err)
	}
	if err := host.Init(s.repoDir(r), r.defaultBranch); err != nil {
		return 0, fmt.Errorf("adding the repository %s: %w", fullName, err)
	}
	return r.id, s.rememberRefsLocked(r)
}

func (s *Server) addRepoLocked(fullName string, o RepoOptions) (*repo, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok || !nameForm.MatchString(owner) || !nameForm.MatchString(name) || strings.Trim(name, ".") == "" || strings.HasSuffix(name, ".git") {
		return nil, errors.New("this is no name of a repository")
	}
	if s.repoLocked(fullName) != nil {
		return nil, fs.ErrExist
	}
	s.userLocked(owner)
	r := &repo{id: s.nextIDLocked("repository"), owner: owner, name: name, private: o.Private, archived: o.Archived, defaultBranch: o.DefaultBranch,
		properties: o.Properties, roles: map[string]string{owner: "admin"}, created: s.now()}
	if r.defaultBranch == "" {
		r.defaultBranch = "main"
	}
	s.repos[r.id] = r
	if !o.NotInstalled {
		s.installLocked(r)
	}
	return r, nil
}

// repoLocked returns the repository of a name, or nil. Names are compared without regard to case, as GitHub does.
func (s *Server) repoLocked(fullName string) *repo {
	for _, r := range s.repos {
		if strings.EqualFold(r.fullName(), fullName) {
			return r
		}
	}
	return nil
}

func (s *Server) namedRepoLocked(fullName string) (*repo, error) {
	if r := s.repoLocked(fullName); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("the repository %s: %w", fullName, fs.ErrNotExist)
}

func (s *Server) repoDir(r *repo) string { return filepath.Join(s.dir, r.owner, r.name+".git") }

// RepoDir returns where the bare repository lies. Tests may push to it by its path.
func (s *Server) RepoDir(fullName string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return "", err
	}
	return s.repoDir(r), nil
}

// CloneURL returns the address of the repository for git.
func (s *Server) CloneURL(fullName string) string { return s.url + "/" + fullName + ".git" }

// AddFork makes a fork of a repository below another account and returns its full name. The app is not installed there.
func (s *Server) AddFork(fullName, owner string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.namedRepoLocked(fullName)
	if err != nil {
		return "", err
	}
	fork, err := s.addRepoLocked(owner+"/"+parent.name, RepoOptions{Private: parent.private, DefaultBranch: parent.defaultBranch, NotInstalled: true})
	if err != nil {
		return "", fmt.Errorf("forking %s: %w", fullName, err)
	}
	fork.parent = parent.id
	if err := host.Clone(s.repoDir(parent), s.repoDir(fork)); err != nil {
		return "", fmt.Errorf("forking %s: %w", fullName, err)
	}
	return fork.fullName(), s.rememberRefsLocked(fork)
}

// DeleteRepo removes a repository. Nobody is told: Delete does that. Pull requests from it stay, with a head repository of null.
func (s *Server) DeleteRepo(fullName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return err
	}
	return s.deleteRepoLocked(r)
}

func (s *Server) deleteRepoLocked(r *repo) error {
	delete(s.repos, r.id)
	for _, inst := range s.installations {
		delete(inst.repos, r.id)
	}
	return os.RemoveAll(s.repoDir(r))
}

// RenameRepo gives a repository another name below the same owner. Nobody is told: Rename does that.
func (s *Server) RenameRepo(fullName, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return err
	}
	return s.moveLocked(r, r.owner, name)
}

// SetPrivate changes whether a repository is private. Nobody is told: SetVisibility does that.
func (s *Server) SetPrivate(fullName string, private bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return err
	}
	r.private = private
	return nil
}

// AddOrganization makes an organization with members. It must be made before its repositories.
func (s *Server) AddOrganization(login string, members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	org := s.userLocked(login)
	org.kind = "Organization"
	for _, m := range members {
		s.userLocked(m)
	}
	org.members = slices.Clone(members)
}

// AddUser makes a user, if there is none of the name, and returns the token that git accepts as the user's password.
func (s *Server) AddUser(login string) (token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.userLocked(login).token
}

// userLocked returns the user of a name and makes it if it is new.
func (s *Server) userLocked(login string) *user {
	if u := s.findUserLocked(login); u != nil {
		return u
	}
	u := &user{id: s.nextIDLocked("user"), login: login, kind: "User", token: "ghp_" + forgetest.RandomHex(18)}
	if strings.HasSuffix(login, "[bot]") {
		u.kind = "Bot"
	}
	s.users[strings.ToLower(login)] = u
	return u
}

func (s *Server) findUserLocked(login string) *user { return s.users[strings.ToLower(login)] }

// roles are the roles that a user may have in a repository, and the permission each amounts to.
var roles = map[string]string{"admin": "admin", "maintain": "write", "write": "write", "triage": "read", "read": "read", "none": "none"}

// DefineRole makes a custom role, which is one of GitHub's with more to it: a permission of read or write is all that most
// programs see of it.
func (s *Server) DefineRole(name, base string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if roles[name] != "" || base != "read" && base != "triage" && base != "write" && base != "maintain" {
		return fmt.Errorf("%q cannot be a role that is made of %q", name, base)
	}
	s.customRoles[name] = base
	return nil
}

// baseRole returns the role of GitHub's that a role is or is made of.
func (s *Server) baseRole(role string) string { return cmp.Or(s.customRoles[role], role) }

// SetPermission gives a user a role in a repository: admin, maintain, write, triage, read, none, or one that DefineRole has
// made. Users without one can read public repositories.
func (s *Server) SetPermission(fullName, login, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return err
	}
	if roles[s.baseRole(role)] == "" {
		return fmt.Errorf("there is no role %q", role)
	}
	r.roles[s.userLocked(login).login] = role
	return nil
}

// roleLocked returns the role of a user in a repository.
func (s *Server) roleLocked(r *repo, login string) string {
	for l, role := range r.roles {
		if strings.EqualFold(l, login) {
			return role
		}
	}
	if !r.private {
		return "read"
	}
	return "none"
}

// associationLocked returns what GitHub calls the author association.
func (s *Server) associationLocked(r *repo, login string) string {
	if strings.EqualFold(r.owner, login) {
		return "OWNER"
	}
	if slices.Contains(s.userLocked(r.owner).members, login) {
		return "MEMBER"
	}
	if role, ok := r.roles[login]; ok && role != "none" {
		return "COLLABORATOR"
	}
	return "NONE"
}

func (s *Server) installLocked(r *repo) *installation {
	for _, inst := range s.installations {
		if strings.EqualFold(inst.account, r.owner) {
			inst.repos[r.id] = true
			return inst
		}
	}
	inst := &installation{id: s.nextIDLocked("installation"), account: s.userLocked(r.owner).login, repos: map[int64]bool{r.id: true}, created: s.now()}
	s.installations[inst.id] = inst
	return inst
}

// installationLocked returns the installation that covers a repository, or nil.
func (s *Server) installationLocked(r *repo) *installation {
	for _, inst := range s.installations {
		if inst.repos[r.id] {
			return inst
		}
	}
	return nil
}

// Installation returns the id of the installation at an account; 0 if there is none.
func (s *Server) Installation(account string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, inst := range s.installations {
		if strings.EqualFold(inst.account, account) {
			return inst.id
		}
	}
	return 0
}

// Suspend suspends the installation at an account, or ends its suspension. Nobody is told: SetSuspended does that.
func (s *Server) Suspend(account string, suspended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, inst := range s.installations {
		if strings.EqualFold(inst.account, account) {
			s.suspendLocked(inst, suspended)
		}
	}
}

func (s *Server) suspendLocked(inst *installation, suspended bool) {
	inst.suspended = time.Time{}
	if suspended {
		inst.suspended = s.now()
	}
}

// Uninstall removes the app from an account. Nobody is told: RemoveInstallation does that. Its tokens are worth nothing from then on.
func (s *Server) Uninstall(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.installations, func(_ int64, inst *installation) bool { return strings.EqualFold(inst.account, account) })
}

func (r *repo) issue(number int) *issue {
	for _, i := range r.issues {
		if i.number == number {
			return i
		}
	}
	return nil
}

func (s *Server) pullLocked(fullName string, number int) (*repo, *issue, error) {
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return nil, nil, err
	}
	i := r.issue(number)
	if i == nil || i.pull == nil {
		return nil, nil, fmt.Errorf("pull request %d of %s: %w", number, fullName, fs.ErrNotExist)
	}
	return r, i, nil
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
