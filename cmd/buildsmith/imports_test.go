package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// ours says which of our packages each package may import. What is not listed may import nothing of ours.
var ours = map[string][]string{
	"store":                          {},
	"runner/glob":                    {},
	"runner/buildspec":               {"runner/glob"}, // to check patterns where they stand
	"runner/cache":                   {"runner/glob"},
	"runner/agent":                   {"runner/glob", "runner/cache"}, // which is at work in the container
	"runner/report":                  {"store"},
	"runner/source":                  {"store"},
	"runner/secret":                  {"store"},
	"runner/finding":                 {},
	"runner":                         {"store", "runner/agent", "runner/buildspec", "runner/cache", "runner/finding", "runner/report", "runner/secret", "runner/source"},
	"runner/docker":                  {"store", "runner", "runner/agent"},
	"runner/runnertest":              {"store", "runner", "runner/agent"},
	"webhook":                        {"store"},
	"webhook/github":                 {"store", "webhook"},
	"webhook/local":                  {"store", "webhook"},
	"checks":                         {"store"},
	"checks/github":                  {"store", "checks"},
	"checks/bitbucket":               {"store", "checks"},
	"checks/local":                   {"store", "checks"},
	"checks/web":                     {"store", "checks"},
	"checks/forgetest":               {},
	"checks/bitbucket/bitbuckettest": {"checks/forgetest"},
	"checks/bitbucket/bitbuckettest/fakebitbucket": {"checks/forgetest", "checks/bitbucket/bitbuckettest"},
	"checks/github/githubtest":                     {"checks/forgetest"},
	"checks/github/githubtest/fakegithub":          {"checks/forgetest", "checks/github/githubtest"},
	"cmd/buildsmith": {"store", "runner", "runner/agent", "runner/buildspec", "runner/cache", "runner/docker", "runner/secret", "runner/source", "webhook", "webhook/github",
		"webhook/local", "checks", "checks/github", "checks/local", "checks/web"},
}

// theirs says where each third-party package may be imported, by the beginning of its path.
var theirs = map[string][]string{
	"go.etcd.io/bbolt":                         {"store"},
	"filippo.io/age":                           {"store"},
	"github.com/aws/":                          {"runner/secret"},
	"github.com/klauspost/compress":            {"store", "runner/cache"},
	"github.com/google/uuid":                   {"store", "runner", "webhook/local"},
	"github.com/docker/":                       {"runner/docker"},
	"github.com/distribution/reference":        {"runner/docker"},
	"github.com/google/go-github/":             {"checks/github"},
	"github.com/bradleyfalzon/ghinstallation/": {"checks/github"},
	"github.com/golang-jwt/jwt/":               {"checks/github", "checks/github/githubtest"},
	"github.com/getkin/kin-openapi/":           {"checks/forgetest", "checks/github/githubtest", "checks/bitbucket/bitbuckettest"},
	"gopkg.in/yaml.v3":                         {"runner/buildspec", "cmd/buildsmith"},
	"github.com/labstack/echo/":                {"webhook", "webhook/local", "checks/web", "cmd/buildsmith"},
	"github.com/buildkite/terminal-to-html/":   {"checks/web"},
	"github.com/prometheus/client_golang/":     {"cmd/buildsmith"},
	"github.com/dlclark/regexp2":               {"webhook"},
	"github.com/spf13/cobra":                   {"cmd/buildsmith"},
	"golang.org/x/sys/unix":                    {"runner", "runner/cache", "runner/source", "cmd/buildsmith"},
	"golang.org/x/net/http/httpproxy":          {"cmd/buildsmith"},
}

// TestImports keeps the architecture true: store in the middle, webhook, runner and checks around it and apart, kinds below
// their parents, and the wiring here.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", "buildsmith/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, "buildsmith/")
		allowed, known := ours[name]
		if !known {
			t.Errorf("package %s is not in the table of packages", name)
		}
		seen++
		for _, imported := range p.Imports {
			checkImport(t, name, imported, allowed)
		}
	}
	if seen < len(ours) {
		t.Errorf("%d packages, the table has %d", seen, len(ours))
	}
}

func checkImport(t *testing.T, name, imported string, allowed []string) {
	t.Helper()
	if of, ok := strings.CutPrefix(imported, "buildsmith/"); ok {
		if !slices.Contains(allowed, of) {
			t.Errorf("%s imports %s", name, of)
		}
		return
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	for prefix, places := range theirs {
		if strings.HasPrefix(imported, prefix) {
			if !slices.Contains(places, name) {
				t.Errorf("%s imports %s, which belongs into %s", name, imported, strings.Join(places, ", "))
			}
			return
		}
	}
	t.Errorf("%s imports %s, which is not in the table (%s)", name, imported, path.Base(imported))
}
