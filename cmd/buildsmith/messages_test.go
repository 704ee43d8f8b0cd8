package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/store"
)

// TestForgesThatAreOff has projects and repositories of forges that the configuration does not have.
func TestForgesThatAreOff(t *testing.T) {
	_, dir, err := load(t, "github: {app-id: 1, private-key: {file: DIR/key.pem}, webhook-secrets: [{file: DIR/secret}]}\nprojects: [{name: shop, forge: local, repository: shop}]\n")
	if want := filepath.Join(dir, "config.yml") + ": projects.shop.forge: the built-in forge is off"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	s := &server{config: &Config{}}
	for _, forge := range []string{"github", "local", "other"} {
		if _, _, err := s.where(store.Repo{Forge: forge}, &store.Trigger{}); err == nil || err.Error() != "forge "+forge+" is no longer configured" {
			t.Errorf("%s: %v", forge, err)
		}
	}
}

// TestProgramWithoutRoom cannot keep the program where sandboxes look for it.
func TestProgramWithoutRoom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BUILDSMITH_AGENT", filepath.Join(buildPrograms(t), "buildsmith-static"))
	if _, err := keepProgram(file); err == nil || !strings.HasSuffix(err.Error(), "file/agent: not a directory") && !strings.HasSuffix(err.Error(), "file: not a directory") {
		t.Error(err)
	}
	path, err := keepProgram(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	again, err := keepProgram(filepath.Dir(file))
	if info, missing := os.Stat(path); err != nil || again != path || missing != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%s, %v, %v", again, err, info)
	}
}
