package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"github.com/google/uuid"
)

// Secrets are kept in two buckets beside those that the package's comment lists. OpenSecrets makes them:
//
//	secrets        name => Secret, without its values
//	secret-values  version id => age file, encrypted to the first key of the key file: name NUL version id NUL value
//
// Each value names what it is the value of, so that exchanging two of them in the database is seen. The keys lie in a file
// of their own, which no backup holds: see keys in secretkey.go.
var (
	bucketSecrets      = []byte("secrets")
	bucketSecretValues = []byte("secret-values")
)

// Stages of a secret's versions that move by themselves; AWS's words.
const (
	StageCurrent  = "AWSCURRENT"
	StagePrevious = "AWSPREVIOUS"
)

// Bounds of secrets.
const (
	MaxSecret   = 64 << 10 // bytes of a value
	maxName     = 512      // bytes of a name, a stage or a rule
	maxRules    = 100      // of a kind, of one secret
	maxStages   = 20       // of one secret, beside those that move by themselves
	maxUnstaged = 20       // versions without a stage that are kept
)

// A Secret is a secret without its values.
type Secret struct {
	Name     string // as SecretName gives it
	Rules    SecretRules
	Created  time.Time
	Changed  time.Time
	Last     int             // number of the last version
	Versions []SecretVersion // newest first
}

// A SecretVersion is one value that a secret has or had.
type SecretVersion struct {
	ID      string   // a UUID
	Number  int      // from 1
	Stages  []string `json:",omitempty"` // sorted
	Created time.Time
}

// A SecretPick says which version of a secret is meant: by its id, its number or one of its stages. The zero pick is the
// current one.
type SecretPick struct {
	ID     string
	Number int
	Stage  string
}

// A SecretPut says what to do with a new value. Rules that are nil stay as they are; a new secret needs Projects.
type SecretPut struct {
	Stage    string   // of the version, which loses none of the others; empty for AWSCURRENT
	Projects []string // see SecretRules
	Refs     []string
}

// ErrNoVersion says that a secret is there, but not the version that was asked for. It is ErrNotFound too.
var ErrNoVersion = fmt.Errorf("the version was %w", ErrNotFound)

// Secrets are the secrets of a store, with the keys that open them. Its methods may be called at the same time.
type Secrets struct {
	store *Store
	path  string // of the key file

	mu   sync.RWMutex // held for writing while the key is replaced
	keys []*age.X25519Identity
}

// invalid is an error of whoever named or gave a secret. It is fs.ErrInvalid.
type invalid string

func (e invalid) Error() string      { return string(e) }
func (invalid) Is(target error) bool { return target == fs.ErrInvalid }

func invalidf(format string, args ...any) error { return invalid(fmt.Sprintf(format, args...)) }

var (
	secretName  = regexp.MustCompile(`^[A-Za-z0-9_+=.@-]+(/[A-Za-z0-9_+=.@-]+)*$`)
	secretStage = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
)

// SecretName gives a name as secrets have it, without the slash in front, which does not distinguish. A name that no
// secret can have is fs.ErrInvalid.
func SecretName(name string) (string, error) {
	plain := strings.TrimPrefix(name, "/")
	if len(plain) > maxName || !secretName.MatchString(plain) {
		return "", invalidf("%.100q is no name of a secret: write letters, digits and _+=.@- between single slashes, such as ci/registry/password", name)
	}
	return plain, nil
}

// Version is the version that a pick means.
func (s *Secret) Version(pick SecretPick) (SecretVersion, bool) {
	if pick == (SecretPick{}) {
		pick.Stage = StageCurrent
	}
	i := slices.IndexFunc(s.Versions, func(v SecretVersion) bool {
		return (pick.ID == "" || v.ID == pick.ID) && (pick.Number == 0 || v.Number == pick.Number) && (pick.Stage == "" || slices.Contains(v.Stages, pick.Stage))
	})
	if i < 0 {
		return SecretVersion{}, false
	}
	return s.Versions[i], true
}

// give gives a stage to a version and takes it from the others.
func (s *Secret) give(stage, id string) {
	for i := range s.Versions {
		v := &s.Versions[i]
		v.Stages = slices.DeleteFunc(slices.Clone(v.Stages), func(s string) bool { return s == stage })
		if v.ID == id {
			v.Stages = append(v.Stages, stage)
			slices.Sort(v.Stages)
		}
	}
}

// add adds a version, moves the stages and gives the versions that are no longer kept.
func (s *Secret) add(v SecretVersion, stage string) (old []SecretVersion, err error) {
	before, there := s.Version(SecretPick{})
	s.Last++
	v.Number = s.Last
	s.Versions = slices.Insert(s.Versions, 0, v)
	switch stage {
	case "", StageCurrent:
		if there {
			s.give(StagePrevious, before.ID)
		}
		s.give(StageCurrent, v.ID)
	default:
		s.give(stage, v.ID)
		if !there { // as AWS does with the first version
			s.give(StageCurrent, v.ID)
		}
	}
	stages, unstaged := 0, 0
	s.Versions = slices.DeleteFunc(s.Versions, func(v SecretVersion) bool {
		stages += len(v.Stages)
		if len(v.Stages) > 0 {
			return false
		}
		if unstaged++; unstaged <= maxUnstaged {
			return false
		}
		old = append(old, v)
		return true
	})
	if stages > maxStages+2 {
		return nil, invalidf("%s: the versions have %d stages already: use one of them again", s.Name, maxStages)
	}
	return old, nil
}

// allow replaces the rules that are not nil, and checks them.
func (s *Secret) allow(projects, refs []string) error {
	if projects != nil {
		s.Rules.Projects = sortedSet(projects)
	}
	if refs != nil {
		s.Rules.Refs = sortedSet(refs)
	}
	if err := s.Rules.Check(); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// Put gives a secret a new value, and makes the secret if there is none. What is wrong with the arguments is
// fs.ErrInvalid. The first version of what it returns is the new one.
func (s *Secrets) Put(name, value string, p SecretPut) (Secret, error) {
	name, err := SecretName(name)
	if err != nil {
		return Secret{}, err
	}
	for _, err := range []error{checkValue(value), checkStage(p.Stage)} {
		if err != nil {
			return Secret{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	version := SecretVersion{ID: uuid.NewString()}
	sealed, err := s.seal(name, version.ID, value)
	if err != nil {
		return Secret{}, err
	}
	return s.change(name, func(tx *Tx, secret *Secret, there bool) error {
		if !there && p.Projects == nil {
			return invalidf("%s is new: say which projects may read it, such as owner/repo, or * for every project", name)
		}
		if err := secret.allow(p.Projects, p.Refs); err != nil {
			return err
		}
		version.Created = secret.Changed
		old, err := secret.add(version, p.Stage)
		if err != nil {
			return err
		}
		for _, v := range old {
			if err := tx.bucket(bucketSecretValues).Delete([]byte(v.ID)); err != nil {
				return err
			}
		}
		return tx.bucket(bucketSecretValues).Put([]byte(version.ID), sealed)
	})
}

// Allow changes who may read a secret, and leaves its value alone. Rules that are nil stay as they are. ErrNotFound says
// that there is no such secret.
func (s *Secrets) Allow(name string, projects, refs []string) (Secret, error) {
	name, err := SecretName(name)
	if err != nil {
		return Secret{}, err
	}
	return s.change(name, func(_ *Tx, secret *Secret, there bool) error {
		if !there {
			return fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		return secret.allow(projects, refs)
	})
}

// change changes a secret in one transaction; fn is told whether it was there.
func (s *Secrets) change(name string, fn func(tx *Tx, secret *Secret, there bool) error) (secret Secret, err error) {
	err = s.store.Update(func(tx *Tx) (err error) {
		var there bool
		if secret, there, err = get[Secret](tx, bucketSecrets, []byte(name)); err != nil {
			return err
		}
		now := s.store.Now()
		if !there {
			secret = Secret{Name: name, Created: now}
		}
		secret.Changed = now
		if err := fn(tx, &secret, there); err != nil {
			return err
		}
		return put(tx, bucketSecrets, []byte(name), secret)
	})
	return secret, err
}

// Delete removes a secret with all its versions. ErrNotFound says that there is none.
func (s *Secrets) Delete(name string) error {
	name, err := SecretName(name)
	if err != nil {
		return err
	}
	s.mu.RLock() // not while values are written anew
	defer s.mu.RUnlock()
	return s.store.Update(func(tx *Tx) error {
		secret, there, err := get[Secret](tx, bucketSecrets, []byte(name))
		if err == nil && !there {
			err = fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		if err != nil {
			return err
		}
		for _, v := range secret.Versions {
			if err := tx.bucket(bucketSecretValues).Delete([]byte(v.ID)); err != nil {
				return err
			}
		}
		return tx.bucket(bucketSecrets).Delete([]byte(name))
	})
}

// List are all secrets, by name.
func (s *Secrets) List() ([]Secret, error) {
	var list []Secret
	err := s.store.View(func(tx *Tx) error {
		return tx.bucket(bucketSecrets).ForEach(func(name, _ []byte) error {
			secret, _, err := get[Secret](tx, bucketSecrets, name)
			list = append(list, secret)
			return err
		})
	})
	return list, err
}

// Value gives a value to the administrator. ErrNotFound says that there is no such secret or version.
func (s *Secrets) Value(name string, pick SecretPick) (string, Secret, SecretVersion, error) {
	return s.value(name, pick, func(*Secret) error { return nil })
}

// ValueFor gives a value to a build. fs.ErrPermission says that it has no access, ErrNotFound that there is no such secret
// or version. Who may not read a secret is not told which versions it has.
func (s *Secrets) ValueFor(b *Build, name string, pick SecretPick) (string, SecretVersion, error) {
	value, _, version, err := s.value(name, pick, func(secret *Secret) error {
		if !secret.Rules.Allow(b) {
			return fmt.Errorf("%s: %w", secret.Name, fs.ErrPermission)
		}
		return nil
	})
	return value, version, err
}

func (s *Secrets) value(name string, pick SecretPick, may func(*Secret) error) (value string, secret Secret, version SecretVersion, err error) {
	fail := func(err error) (string, Secret, SecretVersion, error) { return "", Secret{}, SecretVersion{}, err }
	if name, err = SecretName(name); err != nil {
		return fail(err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sealed []byte
	if err := s.store.View(func(tx *Tx) error {
		var there bool
		if secret, there, err = get[Secret](tx, bucketSecrets, []byte(name)); err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		if err := may(&secret); err != nil {
			return err
		}
		if version, there = secret.Version(pick); !there {
			return fmt.Errorf("%s: %w", name, ErrNoVersion)
		}
		sealed = bytes.Clone(tx.bucket(bucketSecretValues).Get([]byte(version.ID)))
		return nil
	}); err != nil {
		return fail(err)
	}
	if value, err = s.open(name, version.ID, sealed); err != nil {
		return fail(fmt.Errorf("%s, version %d: %w", name, version.Number, err))
	}
	return value, secret, version, nil
}

func checkValue(value string) error {
	switch {
	case value == "":
		return invalid("the value is empty")
	case len(value) > MaxSecret:
		return invalidf("the value has more than %d bytes, the most that a secret may have", MaxSecret)
	case !utf8.ValidString(value):
		return invalid("the value is no text in UTF-8: encode it, for example by base64")
	case strings.Contains(value, "\x00"):
		return invalid("the value holds a NUL byte, which no variable can: encode it, for example by base64")
	}
	return nil
}

func checkStage(stage string) error {
	switch {
	case stage == StagePrevious:
		return invalid(StagePrevious + " moves by itself, to the version that was current before")
	case stage != "" && (len(stage) > maxName || !secretStage.MatchString(stage)):
		return invalidf("%.100q is no name of a stage: write a letter, then letters, digits and _.-", stage)
	}
	return nil
}

// SecretRules say which builds may read a secret: those of a project that Projects have, of a ref that Refs have if there
// are any, and never those of another repository's commit.
//
// A project is named as its repository is, owner/repo, which means all projects of the repository; or, if it was
// configured, by its name. A pattern may begin with a forge and a colon, such as github:owner/repo. In a pattern * stands
// for any characters but a slash, ? and [a-z] for one character; * alone is every project. A capital letter is the small
// one. Patterns of refs are of full names, such as refs/heads/main; ** is any number of components.
//
// A repository that took the name of another one, which is there still, is not named by it, unless a project of the configuration
// names it by its id.
type SecretRules struct {
	Projects []string `json:",omitempty"`
	Refs     []string `json:",omitempty"`
}

// Allow reports whether a build may read what the rules are of.
func (r SecretRules) Allow(b *Build) bool {
	named := !b.TookName || b.Settings.Bound // what names a repository means the one that had the name first
	if b.Trigger.Fork || !slices.ContainsFunc(r.Projects, func(pattern string) bool {
		_, rest, _ := strings.Cut(pattern, ":")
		return (named || pattern == "*" || rest == "*") && MatchProject(pattern, b.Repo, b.Project, b.ProjectKey)
	}) {
		return false
	}
	ref := b.Trigger.HeadRef
	return len(r.Refs) == 0 || ref != "" && slices.ContainsFunc(r.Refs, func(pattern string) bool { return matchRef(strings.Split(pattern, "/"), strings.Split(ref, "/")) })
}

// MatchProject reports whether a pattern of SecretRules has a project: of a repository, with its name and key.
func MatchProject(pattern string, repo Repo, name, key string) bool {
	if pattern == "*" {
		return true
	}
	if forge, rest, ok := strings.Cut(pattern, ":"); ok {
		if forge != repo.Forge {
			return false
		}
		if pattern = rest; pattern == "*" {
			return true
		}
	}
	pattern = strings.ToLower(pattern)
	match := func(name string) bool {
		ok, err := path.Match(pattern, strings.ToLower(name))
		return ok && err == nil
	}
	// The name that a project has by itself is not compared: it is made of the repository's, and octo-* would have those of
	// other owners.
	return match(repo.Name) || key != repo.Key() && match(name)
}

// matchRef compares a ref with a pattern, component by component. A ** at the end is one component at least.
func matchRef(pattern, ref []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			if len(pattern) == 1 {
				return len(ref) > 0
			}
			for i := range len(ref) + 1 {
				if matchRef(pattern[1:], ref[i:]) {
					return true
				}
			}
			return false
		}
		if len(ref) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], ref[0]); !ok || err != nil {
			return false
		}
		pattern, ref = pattern[1:], ref[1:]
	}
	return len(ref) == 0
}

func sortedSet(list []string) []string {
	set := map[string]bool{}
	for _, text := range list {
		set[text] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Check says what is wrong with the rules; the error is fs.ErrInvalid.
func (r SecretRules) Check() error {
	if len(r.Projects) == 0 {
		return invalid("no project may read it: name one, such as owner/repo, or * for every project")
	}
	for _, list := range [][]string{r.Projects, r.Refs} {
		if len(list) > maxRules {
			return invalidf("%d rules are too many: write at most %d, and use patterns", len(list), maxRules)
		}
	}
	for _, p := range r.Projects {
		forge, name, ok := strings.Cut(p, ":")
		if !ok {
			name = p
		}
		if _, err := path.Match(name, ""); err != nil || name == "" || ok && forge == "" || len(p) > maxName || strings.Contains(name, ":") || strings.Contains(name, "**") {
			return invalidf("%.100q is no pattern of projects: write one such as owner/repo, owner/* or github:owner/repo, or * for every project", p)
		}
	}
	for _, p := range r.Refs {
		stars := 0
		_, err := path.Match(p, "")
		for part := range strings.SplitSeq(p, "/") {
			if part == "**" {
				stars++
			} else if part == "" || strings.Contains(part, "**") {
				err = path.ErrBadPattern
			}
		}
		if err != nil || stars > 2 || len(p) > maxName || !strings.HasPrefix(p, "refs/") {
			return invalidf("%.100q is no pattern of refs: write full names, such as refs/heads/main, refs/tags/v* or refs/heads/release/**", p)
		}
	}
	return nil
}
