package runner_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/runner"
	"buildsmith/runner/source"
	"buildsmith/store"
)

// A repository is a bare one on this machine, with a clone to commit in.
type repository struct {
	t         *testing.T
	bare, dir string
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits what lies in the clone, pushes it to a ref and gives its hash.
func (r *repository) commit(ref string) string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "-m", "change")
	r.git("push", "--quiet", r.bare, "HEAD:"+ref)
	return r.git("rev-parse", "HEAD")
}

// withGit gives a bench a repository in place of its directory; what is written lies in the clone.
func (b *bench) withGit() *repository {
	b.t.Helper()
	r := &repository{b.t, filepath.Join(b.t.TempDir(), "shop.git"), b.dir}
	r.git("init", "--quiet", "--bare", r.bare)
	r.git("init", "--quiet")
	mirrors, err := source.New(b.t.TempDir(), source.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	b.config.Source = runner.GitSource{Mirrors: mirrors, Where: func(_ store.Repo, t *store.Trigger) (source.Remote, source.Want, error) {
		return source.Remote{Key: "shop", URL: "http://ci.example.org/git/shop.git", Path: r.bare}, source.Want{Commit: t.Commit}, nil
	}}
	return r
}

func says(command string) string {
	return "version: 0.2\nphases: {build: {commands: ['" + command + "']}}\n"
}

// TestTrustedBuildspec builds pull requests that bring a buildspec of their own.
func TestTrustedBuildspec(t *testing.T) {
	b := newBench(t, nil)
	r := b.withGit()
	empty := r.commit("refs/heads/empty")
	b.write("buildspec.yml", says("echo of the base; cat file"))
	b.write("ci/large.yml", says("echo "+strings.Repeat("x", 1<<20)))
	b.write("broken.yml", "version: 0.2\n")
	b.write("file", "old")
	base := r.commit("refs/heads/main")
	b.write("buildspec.yml", says("echo of the pull request; cat file"))
	b.write("file", "new")
	head := r.commit("refs/pull/7/head")
	b.start()
	note := "The buildspec buildspec.yml is that of the base " + base[:12] + ", not of pull request 7."
	for name, tt := range map[string]struct {
		change  func(*store.Build)
		want    string // that is printed
		message string // of a failure
		note    string
	}{
		"trusted":    {nil, "of the base\nnew", "", note},
		"a fork":     {func(b *store.Build) { b.Trigger.Fork = true }, "of the base\nnew", "", note},
		"off":        {func(b *store.Build) { b.Settings.BaseSpec = false }, "of the pull request\nnew", "", ""},
		"a push":     {func(b *store.Build) { b.Trigger.PullRequest, b.Trigger.BaseCommit = 0, "" }, "of the pull request\nnew", "", ""},
		"its text":   {func(b *store.Build) { b.Settings.Buildspec = says("echo of the project") }, "of the project", "", ""},
		"no base":    {func(b *store.Build) { b.Trigger.BaseCommit = "" }, "", "which commit that is, is not known", ""},
		"gone":       {func(b *store.Build) { b.Trigger.BaseCommit = strings.Repeat("1", 40) }, "", "the repository has that commit no longer", ""},
		"not there":  {func(b *store.Build) { b.Trigger.BaseCommit = empty }, "", "has no buildspec buildspec.yml: this project builds pull requests by", ""},
		"not a file": {func(b *store.Build) { b.Settings.Buildspec = "ci" }, "", "cannot be read from the base of pull request 7: ci in " + base + ": no regular file", ""},
		"outside":    {func(b *store.Build) { b.Settings.Buildspec = "../x.yml" }, "", `"../x.yml" leads out of the source`, ""},
		"too large":  {func(b *store.Build) { b.Settings.Buildspec = "ci/large.yml" }, "", "has more than 1 MiB", ""},
		"wrong":      {func(b *store.Build) { b.Settings.Buildspec = "broken.yml" }, "", "broken.yml:", "The buildspec broken.yml is that of the base " + base[:12] + ", not of pull request 7."},
	} {
		t.Run(name, func(t *testing.T) {
			build := b.submit(func(b *store.Build) {
				b.Trigger.Commit, b.Trigger.PullRequest, b.Trigger.BaseCommit, b.Settings.BaseSpec = head, 7, base, true
				if tt.change != nil {
					tt.change(b)
				}
			})
			build = b.done(build.ID)
			log := b.log(build.ID)
			if tt.message != "" {
				if h := build.Headline(); build.Status != store.Failed || h == nil || !strings.Contains(h.Message, tt.message) || h.Type != store.PhaseDownloadSource {
					t.Errorf("%s %+v", build.Status, h)
				}
			} else if build.Status != store.Succeeded || !strings.Contains(log, "\n"+tt.want) {
				t.Errorf("%s, the log:\n%s", build.Status, log)
			}
			if got := strings.Join(build.Notes, "\n"); got != tt.note || !strings.Contains(log, tt.note) {
				t.Errorf("notes %q, want %q; the log:\n%s", got, tt.note, log)
			}
		})
	}
}

// TestRerunOfAnUntrustedBuildspec does not take over the text that a pull request brought before nobody trusted it.
func TestRerunOfAnUntrustedBuildspec(t *testing.T) {
	b := newBench(t, nil)
	r := b.withGit()
	b.write("buildspec.yml", says("echo of the base"))
	base := r.commit("refs/heads/main")
	b.write("buildspec.yml", says("echo of the pull request"))
	head := r.commit("refs/pull/7/head")
	b.start()
	pull := func(b *store.Build) { b.Trigger.Commit, b.Trigger.PullRequest, b.Trigger.BaseCommit = head, 7, base }
	first := b.done(b.submit(pull).ID)
	again := b.done(b.submit(func(b *store.Build) {
		pull(b)
		b.RerunOf, b.Settings.BaseSpec = first.ID, true
	}).ID)
	if log := b.log(first.ID); !strings.Contains(log, "\nof the pull request\n") {
		t.Errorf("the first log:\n%s", log)
	}
	if log := b.log(again.ID); !strings.Contains(log, "\nof the base\n") {
		t.Errorf("the second log:\n%s", log)
	}
}

// TestChangedFiles goes by the pull request's ref.
func TestChangedFiles(t *testing.T) {
	b := newBench(t, nil)
	r := b.withGit()
	b.write("a", "1")
	base := r.commit("refs/heads/main")
	b.write("b", "1")
	head := r.commit("refs/pull/7/head")
	got, err := b.config.Source.(runner.GitSource).ChangedFiles(t.Context(), testRepo, &store.Trigger{Commit: head, PullRequest: 7}, base)
	if err != nil || len(got) != 1 || got[0] != "b" {
		t.Errorf("%q, %v", got, err)
	}
}
