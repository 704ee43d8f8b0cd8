package store

import (
	"errors"
	"fmt"

	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openSecrets(t *testing.T, s *Store) *Secrets {
	t.Helper()
	return must[*Secrets](t)(s.OpenSecrets(""))
}

var everybody = []string{"*"}

// stages gives each version's number and stages, newest first.
func stages(s *Secret) string {
	var list []string
	for _, v := range s.Versions {
		list = append(list, fmt.Sprintf("%d%v", v.Number, v.Stages))
	}
	return strings.Join(list, " ")
}

func TestSecretVersions(t *testing.T) {
	s, clock := newStore(t)
	secrets := openSecrets(t, s)
	want := []string{"1[AWSCURRENT]", "2[AWSCURRENT] 1[AWSPREVIOUS]", "3[AWSCURRENT] 2[AWSPREVIOUS] 1[]"}
	for i, text := range []string{"one", "two", "three"} {
		clock.advance(time.Minute)
		got := must[Secret](t)(secrets.Put("/ci/registry", text, SecretPut{Projects: everybody}))
		if stages(&got) != want[i] || got.Name != "ci/registry" || !got.Versions[0].Created.Equal(clock.Now()) || !got.Changed.Equal(clock.Now()) {
			t.Errorf("after %s: %s, %+v", text, stages(&got), got)
		}
	}
	// A stage of one's own goes to the new version and leaves the current one alone.
	got := must[Secret](t)(secrets.Put("ci/registry", "four", SecretPut{Stage: "AWSPENDING"}))
	if w := "4[AWSPENDING] 3[AWSCURRENT] 2[AWSPREVIOUS] 1[]"; stages(&got) != w {
		t.Errorf("%s, want %s", stages(&got), w)
	}
	got = must[Secret](t)(secrets.Put("ci/registry", "five", SecretPut{Stage: "AWSPENDING"}))
	if w := "5[AWSPENDING] 4[] 3[AWSCURRENT] 2[AWSPREVIOUS] 1[]"; stages(&got) != w {
		t.Errorf("%s, want %s", stages(&got), w)
	}
	got = must[Secret](t)(secrets.Put("ci/registry", "six", SecretPut{Stage: StageCurrent}))
	if w := "6[AWSCURRENT] 5[AWSPENDING] 4[] 3[AWSPREVIOUS] 2[] 1[]"; stages(&got) != w {
		t.Errorf("%s, want %s", stages(&got), w)
	}
	// The first version is the current one, whatever its stage.
	first := must[Secret](t)(secrets.Put("first", "x", SecretPut{Stage: "canary", Projects: everybody}))
	if w := "1[AWSCURRENT canary]"; stages(&first) != w {
		t.Errorf("%s, want %s", stages(&first), w)
	}

	for pick, want := range map[SecretPick]string{
		{}:                                       "six",
		{Stage: StageCurrent}:                    "six",
		{Stage: StagePrevious}:                   "three",
		{Stage: "AWSPENDING"}:                    "five",
		{Number: 1}:                              "one",
		{ID: got.Versions[2].ID}:                 "four",
		{ID: got.Versions[3].ID, Number: 3}:      "three",
		{ID: got.Versions[0].ID, Stage: "other"}: "",
		{ID: got.Versions[3].ID, Number: 4}:      "",
		{ID: got.Versions[0].ID[:8]}:             "",
		{Number: 7}:                              "",
		{Number: -1}:                             "",
		{Stage: "awscurrent"}:                    "",
	} {
		value, secret, v, err := secrets.Value("//ci/registry"[1:], pick)
		if want == "" {
			if !errors.Is(err, ErrNoVersion) || !errors.Is(err, ErrNotFound) || err.Error() != "ci/registry: the version was not found" {
				t.Errorf("%+v: %q, %v", pick, value, err)
			}
			continue
		}
		if value != want || err != nil || secret.Name != "ci/registry" || v.ID == "" {
			t.Errorf("%+v: %q, %v, want %q", pick, value, err, want)
		}
	}
	if _, _, _, err := secrets.Value("none", SecretPick{}); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoVersion) || err.Error() != "none: not found" {
		t.Error(err)
	}
	list := must[[]Secret](t)(secrets.List())
	if len(list) != 2 || list[0].Name != "ci/registry" || len(list[0].Versions) != 6 || list[1].Name != "first" {
		t.Errorf("the list is %+v", list)
	}
}

// TestSecretVersionsAreBounded keeps 20 versions without a stage, and every version with one.
func TestSecretVersionsAreBounded(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	put := func(value, stage string) Secret {
		return must[Secret](t)(secrets.Put("x", value, SecretPut{Stage: stage, Projects: everybody}))
	}
	put("0", "keep")
	var got Secret
	for i := range 40 {
		got = put(fmt.Sprint(i+1), "")
	}
	if len(got.Versions) != 2+20+1 || got.Versions[22].Number != 1 || got.Versions[21].Number != 20 || got.Last != 41 {
		t.Errorf("%d versions are kept: %s", len(got.Versions), stages(&got))
	}
	if value, _, _, err := secrets.Value("x", SecretPick{Stage: "keep"}); value != "0" || err != nil {
		t.Error(value, err)
	}
	view(t, s, func(tx *Tx) error {
		if n := tx.bucket(bucketSecretValues).Stats().KeyN; n != 23 {
			t.Errorf("%d values are kept", n)
		}
		return nil
	})
	for i := range maxStages - 1 {
		put("s", fmt.Sprint("s", i))
	}
	if _, err := secrets.Put("x", "s", SecretPut{Stage: "more"}); !errors.Is(err, fs.ErrInvalid) || err.Error() != "x: the versions have 20 stages already: use one of them again" {
		t.Error(err)
	}
	put("s", "s3") // one of them
	if err := secrets.Delete("/x"); err != nil {
		t.Error(err)
	}
	view(t, s, func(tx *Tx) error {
		if n := tx.bucket(bucketSecretValues).Stats().KeyN; n != 0 {
			t.Errorf("%d values are left of a removed secret", n)
		}
		return nil
	})
	if err := secrets.Delete("x"); !errors.Is(err, ErrNotFound) || err.Error() != "x: not found" {
		t.Error(err)
	}
	if err := secrets.Delete("a b"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

func TestSecretNames(t *testing.T) {
	for _, name := range []string{"a", "/a", "ci/registry/user", "/ci/registry/user", "A-b_c.d+e=f@g/0", strings.Repeat("x", 512), "/" + strings.Repeat("x", 512)} {
		if got, err := SecretName(name); err != nil || got != strings.TrimPrefix(name, "/") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "/", "//a", "a/", "a//b", "a b", "a:b", "a\x00", "a\nb", "ä", "a*", strings.Repeat("x", 513)} {
		_, err := SecretName(name)
		if want := fmt.Sprintf("%.100q is no name of a secret: write letters, digits and _+=.@- between single slashes, such as ci/registry/password", name); !errors.Is(err, fs.ErrInvalid) || err.Error() != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestSecretRefused gives secrets that cannot be kept; none of the messages has the value.
func TestSecretRefused(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("there", "x", SecretPut{Projects: []string{"octo/shop"}, Refs: []string{"refs/heads/main"}}))
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("p", i)
	}
	for _, tt := range []struct {
		name, value string
		put         SecretPut
		want        string
	}{
		{"a b", "hunter2", SecretPut{}, `"a b" is no name of a secret: write letters, digits and _+=.@- between single slashes, such as ci/registry/password`},
		{"a", "", SecretPut{}, "a: the value is empty"},
		{"a", strings.Repeat("x", 64<<10+1), SecretPut{}, "a: the value has more than 65536 bytes, the most that a secret may have"},
		{"a", "hunter2\xff", SecretPut{}, "a: the value is no text in UTF-8: encode it, for example by base64"},
		{"a", "hunter2\x00", SecretPut{}, "a: the value holds a NUL byte, which no variable can: encode it, for example by base64"},
		{"a", "hunter2", SecretPut{Stage: "AWSPREVIOUS"}, "a: AWSPREVIOUS moves by itself, to the version that was current before"},
		{"a", "hunter2", SecretPut{Stage: "1st"}, `a: "1st" is no name of a stage: write a letter, then letters, digits and _.-`},
		{"a", "hunter2", SecretPut{}, "a is new: say which projects may read it, such as owner/repo, or * for every project"},
		{"a", "hunter2", SecretPut{Projects: []string{}}, "a: no project may read it: name one, such as owner/repo, or * for every project"},
		{"there", "hunter2", SecretPut{Projects: []string{}}, "there: no project may read it: name one, such as owner/repo, or * for every project"},
		{"a", "hunter2", SecretPut{Projects: many}, "a: 101 rules are too many: write at most 100, and use patterns"},
		{"a", "hunter2", SecretPut{Projects: everybody, Refs: []string{"main"}}, `a: "main" is no pattern of refs: write full names, such as refs/heads/main, refs/tags/v* or refs/heads/release/**`},
		{"a", "hunter2", SecretPut{Projects: []string{"octo/["}}, `a: "octo/[" is no pattern of projects: write one such as owner/repo, owner/* or github:owner/repo, or * for every project`},
	} {
		_, err := secrets.Put(tt.name, tt.value, tt.put)
		if !errors.Is(err, fs.ErrInvalid) || err.Error() != tt.want {
			t.Errorf("Put(%q, %.10q, %+v): %v", tt.name, tt.value, tt.put, err)
		}
	}
	if list := must[[]Secret](t)(secrets.List()); len(list) != 1 || stages(&list[0]) != "1[AWSCURRENT]" {
		t.Errorf("what was refused has left %+v", list)
	}
	must[Secret](t)(secrets.Put("a", strings.Repeat("ä", 32<<10), SecretPut{Projects: everybody}))
	if _, err := secrets.Allow("none", everybody, nil); !errors.Is(err, ErrNotFound) || err.Error() != "none: not found" {
		t.Error(err)
	}
	if _, err := secrets.Allow("a b", everybody, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

func TestSecretAllow(t *testing.T) {
	s, clock := newStore(t)
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("x", "v", SecretPut{Projects: []string{"octo/shop", "octo/docs", "octo/shop"}, Refs: []string{"refs/heads/main"}}))
	clock.advance(time.Hour)
	for _, tt := range []struct {
		projects, refs []string
		want           SecretRules
	}{
		{nil, nil, SecretRules{[]string{"octo/docs", "octo/shop"}, []string{"refs/heads/main"}}},
		{[]string{"*"}, nil, SecretRules{[]string{"*"}, []string{"refs/heads/main"}}},
		{nil, []string{"refs/tags/v*"}, SecretRules{[]string{"*"}, []string{"refs/tags/v*"}}},
		{nil, []string{}, SecretRules{Projects: []string{"*"}}},
	} {
		got := must[Secret](t)(secrets.Allow("x", tt.projects, tt.refs))
		if !cmp.Equal(got.Rules, tt.want) && (len(got.Rules.Refs) > 0 || len(tt.want.Refs) > 0) || stages(&got) != "1[AWSCURRENT]" || !got.Changed.Equal(clock.Now()) {
			t.Errorf("%v %v: %+v", tt.projects, tt.refs, got)
		}
	}
}

func TestSecretRules(t *testing.T) {
	shop := func(change ...func(*Build)) *Build {
		b := &Build{Project: "octo-shop", ProjectKey: repo.Key(), Repo: repo, Trigger: Trigger{HeadRef: "refs/heads/main"}}
		for _, c := range change {
			c(b)
		}
		return b
	}
	configured := func(b *Build) { b.Project, b.ProjectKey = "store", repo.Key()+"/store" }
	ref := func(ref string) func(*Build) { return func(b *Build) { b.Trigger.HeadRef = ref } }
	fork := func(b *Build) { b.Trigger.Fork = true }
	for _, tt := range []struct {
		projects, refs string
		build          *Build
		want           bool
	}{
		{"octo/shop", "", shop(), true},
		{"other other/shop octo/shop", "", shop(), true},
		{"Octo/SHOP", "", shop(), true},
		{"octo/shop", "", shop(func(b *Build) { b.Repo.Name = "OCTO/Shop" }), true},
		{"octo/*", "", shop(), true},
		{"octo/s?op", "", shop(), true},
		{"*/shop", "", shop(), true},
		{"*", "", shop(), true},
		{"github:octo/shop", "", shop(), true},
		{"github:*", "", shop(), true},
		{"bitbucket:octo/shop", "", shop(), false},
		{"bitbucket:*", "", shop(), false},
		{"octo/*", "", shop(func(b *Build) { b.Repo.Name = "octo/a/b" }), false},
		{"octo*", "", shop(), false},
		{"octo/shop2", "", shop(), false},
		{"octo/sho", "", shop(), false},
		{"", "", shop(), false},
		// By the name that it has by itself, nobody is known: octo-shop/x and octo/shop-x both have octo-shop-x.
		{"octo-shop", "", shop(), false},
		{"octo-*", "", shop(), false},
		{"store", "", shop(configured), true},
		{"octo/shop", "", shop(configured), true},
		{"github:store", "", shop(configured), true},
		{"shop", "", shop(configured), false},
		{"*", "", shop(fork), false},
		{"octo/shop", "refs/heads/main", shop(fork), false},

		{"*", "refs/heads/main", shop(), true},
		{"*", "refs/heads/main", shop(ref("refs/heads/main2")), false},
		{"*", "refs/heads/main", shop(ref("refs/heads/main/2")), false},
		{"*", "refs/heads/main", shop(ref("refs/heads/Main")), false},
		{"*", "refs/heads/main", shop(ref("")), false},
		{"*", "refs/**", shop(ref("")), false},
		{"*", "", shop(ref("")), true},
		{"*", "refs/heads/*", shop(), true},
		{"*", "refs/heads/*", shop(ref("refs/heads/a/b")), false},
		{"*", "refs/tags/v*", shop(), false},
		{"*", "refs/tags/v*", shop(ref("refs/tags/v1.2")), true},
		{"*", "refs/tags/v* refs/heads/main", shop(), true},
		{"*", "refs/heads/release/**", shop(ref("refs/heads/release/1")), true},
		{"*", "refs/heads/release/**", shop(ref("refs/heads/release/1/2/3")), true},
		{"*", "refs/heads/release/**", shop(ref("refs/heads/release")), false},
		{"*", "refs/heads/release/**", shop(ref("refs/heads/releases/1")), false},
		{"*", "refs/**/main", shop(), true},
		{"*", "refs/**/main", shop(ref("refs/main")), true},
		{"*", "refs/**/a/**/b", shop(ref("refs/heads/a/a/x/b")), true},
		{"*", "refs/**/a/**/b", shop(ref("refs/heads/a/x/c")), false},
	} {
		r := SecretRules{strings.Fields(tt.projects), strings.Fields(tt.refs)}
		if got := r.Allow(tt.build); got != tt.want {
			t.Errorf("projects %q and refs %q allow %s at %q: %v", tt.projects, tt.refs, tt.build.Repo.Name, tt.build.Trigger.HeadRef, got)
		}
	}
	for _, tt := range []struct {
		projects, refs string
		right          bool
	}{
		{"*", "", true}, {"octo/*", "refs/**/x refs/heads/release/**", true}, {"github:octo/[a-m]*", "refs/heads/main", true},
		{"octo/**", "", false}, {":octo", "", false}, {"github:", "", false}, {"a:b:c", "", false}, {"[", "", false}, {strings.Repeat("x", 513), "", false},
		{"*", "main", false}, {"*", "heads/main", false}, {"*", "refs//main", false}, {"*", "refs/heads/", false}, {"*", "refs/a**", false}, {"*", "refs/[", false},
		{"*", "refs/**/**/**/x", false}, {"*", "*", false}, {"*", "refs/" + strings.Repeat("x", 512), false},
	} {
		r := SecretRules{strings.Fields(tt.projects), strings.Fields(tt.refs)}
		if err := r.Check(); (err == nil) != tt.right || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("projects %.20q and refs %.20q: %v", tt.projects, tt.refs, err)
		}
	}
}

func TestSecretForBuild(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("x", "v", SecretPut{Projects: []string{"octo/shop"}}))
	b := &Build{Repo: repo, ProjectKey: repo.Key()}
	if value, v, err := secrets.ValueFor(b, "/x", SecretPick{}); value != "v" || v.Number != 1 || err != nil {
		t.Error(value, v, err)
	}
	if _, _, err := secrets.ValueFor(b, "x", SecretPick{Number: 2}); !errors.Is(err, ErrNoVersion) {
		t.Error(err)
	}
	other := *b
	other.Repo.Name = "octo/other"
	for _, pick := range []SecretPick{{}, {Number: 2}} { // not even which versions there are
		if value, _, err := secrets.ValueFor(&other, "x", pick); value != "" || !errors.Is(err, fs.ErrPermission) || err.Error() != "x: permission denied" {
			t.Error(value, err)
		}
	}
	if _, _, err := secrets.ValueFor(&other, "y", SecretPick{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestSecretsAtOnce sets, reads and removes while the key is replaced.
func TestSecretsAtOnce(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("x", "v0", SecretPut{Projects: everybody}))
	done := make(chan error)
	run := func(n int, fn func(i int) error) {
		go func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = fn(i)
			}
			done <- err
		}()
	}
	run(5, func(int) error { _, err := secrets.RotateKey(); return err })
	run(20, func(i int) error {
		_, err := secrets.Put("x", fmt.Sprint("v", i+1), SecretPut{})
		return err
	})
	run(20, func(i int) error {
		_, err := secrets.Put(fmt.Sprint("y", i), "v", SecretPut{Projects: everybody})
		return errors.Join(err, secrets.Delete(fmt.Sprint("y", i)))
	})
	run(100, func(int) error {
		value, _, _, err := secrets.Value("x", SecretPick{})
		if err == nil && !strings.HasPrefix(value, "v") {
			err = fmt.Errorf("the value is %q", value)
		}
		return err
	})
	run(20, func(int) error {
		names, err := secrets.Unreadable()
		if len(names) > 0 {
			err = fmt.Errorf("%v cannot be read", names)
		}
		return err
	})
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got, _, _, err := openSecrets(t, s).Value("x", SecretPick{}); got != "v20" || err != nil {
		t.Error(got, err)
	}
}

// TestSecretSurvivesRestart reads a secret in the next process's store, with the key of the file.
func TestSecretSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	path := filepath.Join(t.TempDir(), "key")
	must[Secret](t)(must[*Secrets](t)(s.OpenSecrets(path)).Put("x", "v", SecretPut{Projects: everybody}))
	s.Close()
	s = open(t, dir, Options{})
	if got, _, _, err := must[*Secrets](t)(s.OpenSecrets(path)).Value("x", SecretPick{}); got != "v" || err != nil {
		t.Error(got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secrets.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key lies in the data directory too: %v", err)
	}
	s.Close()
	if _, err := s.OpenSecrets(path); !errors.Is(err, fs.ErrClosed) || err.Error() != "opening the secrets: the store is closed: file already closed" {
		t.Error(err)
	}
}
