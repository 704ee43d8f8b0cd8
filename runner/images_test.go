package runner_test

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"buildsmith/runner/docker"
	"buildsmith/runner/runnertest"
	"buildsmith/store"
)

// bashImage is the build image with bash as its sh, as Amazon Linux has it.
const bashImage = "localhost/buildsmith-test-bash:1"

func makeBashImage(t *testing.T) {
	t.Helper()
	if exec.Command("docker", "image", "inspect", bashImage).Run() == nil {
		return
	}
	out, err := exec.Command("docker", "create", runnertest.DebianImage, "ln", "-sf", "bash", "/bin/sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	defer exec.Command("docker", "rm", "-f", id).Run()
	for _, args := range [][]string{{"start", "-a", id}, {"commit", id, bashImage}} {
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
	}
}

// imageCases are those of the cases that the image's shell decides, with what becomes of them where that is not the same
// everywhere.
var imageCases = []string{"C01", "C31", "C32", "C34", "C35", "C36", "C37", "C39", "C40", "C41", "C42", "C43", "C45", "C46", "C48", "C49",
	"C52", "C54", "C55", "C57", "C58", "E10"}

// in is what a case becomes in an image.
type in struct {
	phases, output string
}

var byImage = map[string]map[string]in{
	bashImage: {
		"C41": {"SSSSSS", "yes"}, // [[ is bash's
	},
	runnertest.BusyboxImage: {
		"C41": {"SSSSSS", "yes"},                                                        // and ash's
		"C42": {"SF----", ""},                                                           // there is no bash: INSTALL fails and says so
		"C46": {"SSSSSS", "$PATH:/opt/x/README.md/dist/dist-docs/lock.json/test/tools"}, // its own ls needs no PATH
	},
}

// TestCasesInImages runs the shell's cases by the real agent in real containers: with dash, bash and busybox's ash as sh.
func TestCasesInImages(t *testing.T) {
	for _, image := range []string{runnertest.DebianImage, bashImage, runnertest.BusyboxImage} {
		t.Run(strings.NewReplacer("localhost/buildsmith-", "", ":", "-").Replace(image), func(t *testing.T) {
			runnertest.NeedDocker(t, runnertest.DebianImage)
			if image == bashImage {
				makeBashImage(t)
			}
			runnertest.NeedDocker(t, image)
			b := newBench(t, nil)
			d, err := docker.New(docker.Config{Data: b.store.Dir(), Program: runnertest.Program(t), Pull: docker.PullNever, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			b.config.Sandbox, b.config.Slots = d, 3
			b.writeCaseTree()
			b.start()
			ids := map[string]string{}
			for _, name := range imageCases {
				ids[name] = b.submit(func(build *store.Build) {
					build.Settings = settings()
					build.Settings.Image, build.Settings.Buildspec, build.Settings.Network = image, caseOf(t, name).spec+"\n", store.NetworkNone
				}).ID
			}
			for _, name := range imageCases {
				t.Run(name, func(t *testing.T) {
					c := caseOf(t, name)
					want := in{c.phases, c.output}
					if other, differs := byImage[image][name]; differs {
						want = other
					}
					build := b.done(ids[name])
					got := in{letters(&build), strings.ReplaceAll(strings.TrimSuffix(commandOutput(b, &build), "\n"), "\n", "/")}
					if want.output == "*" {
						got.output = "*"
					}
					if got != want {
						t.Errorf("%+v, want %+v\n%s", got, want, b.log(build.ID))
					}
				})
			}
		})
	}
}

func caseOf(t *testing.T, name string) *testCase {
	t.Helper()
	for i := range cases {
		if cases[i].name == name {
			return &cases[i]
		}
	}
	t.Fatalf("there is no case %s", name)
	return nil
}

// TestBuildspecs runs every sample below testdata/buildspecs to its end, in the build image.
func TestBuildspecs(t *testing.T) {
	runnertest.NeedDocker(t, runnertest.DebianImage)
	entries, err := os.ReadDir("../testdata/buildspecs")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 20 {
		t.Fatalf("%d samples", len(entries))
	}
	b := newBench(t, nil)
	d, err := docker.New(docker.Config{Data: b.store.Dir(), Program: runnertest.Program(t), Pull: docker.PullNever, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	b.config.Sandbox, b.config.Slots = d, 2
	b.config.Secrets = caseSecrets(t)
	b.config.Caches = t.TempDir()
	b.writeCaseTree()
	b.write("package-lock.json", `{"name": "shop", "lockfileVersion": 3}`)
	b.write("src/main.sh", "echo main\n")
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=Begin"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	b.start()
	ids := make([]string, len(entries))
	for i, e := range entries {
		text, err := os.ReadFile("../testdata/buildspecs/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = b.submit(func(build *store.Build) {
			build.Settings.Image, build.Settings.Buildspec, build.Settings.Network = runnertest.DebianImage, string(text)+"\n", store.NetworkNone
		}).ID
	}
	for i, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			if build := b.done(ids[i]); build.Status != store.Succeeded {
				t.Errorf("%s %s %+v\n%s", build.Status, letters(&build), build.Headline(), b.log(build.ID))
			}
		})
	}
}
