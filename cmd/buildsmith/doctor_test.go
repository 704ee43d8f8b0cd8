package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctorOfGit has several gits looked at.
func TestDoctorOfGit(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"new":        {`test "$1" = version && echo git version 3.0.1; exit 0`, "ok     git            git version 3.0.1\n"},
		"enough":     {`test "$1" = version && echo git version 2.31.0; exit 0`, "ok     git            git version 2.31.0\n"},
		"old":        {`echo git version 2.30.9`, "wrong  git            git version 2.30.9 is too old; 2.31 or newer is needed\n"},
		"very old":   {`echo git version 1.99.0`, "wrong  git            git version 1.99.0 is too old; 2.31 or newer is needed\n"},
		"broken":     {`exit 3`, "wrong  git            cannot be run (exit status 3); install it: apt-get install git\n"},
		"no backend": {`test "$1" = version && { echo git version 2.40.0; exit; }; echo "git: '$1' is not a git command." >&2; exit 1`, "wrong  git            git http-backend is missing, which the built-in forge serves repositories by\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			var out bytes.Buffer
			d := &doctor{out: &out}
			d.git(t.Context())
			if out.String() != tt.want || d.wrong > 0 != strings.HasPrefix(tt.want, "wrong") {
				t.Errorf("%s, want %s", out.String(), tt.want)
			}
		})
	}
}

// TestDoctorOfData looks at directories that are there or not.
func TestDoctorOfData(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		mode os.FileMode
		data string
		want []string
	}{
		{0o700, dir, []string{"ok     disk           "}},
		{0o750, dir, []string{"note   data           " + dir + " can be read by others (mode 0750); the server closes it when it starts", "ok     disk           "}},
		{0o700, filepath.Join(dir, "none"), []string{"note   data           " + dir + "/none is not there yet; the server makes it"}},
	} {
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		d := &doctor{out: &out}
		d.data(&Config{Data: tt.data, Reserve: 1})
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(tt.want) || d.wrong > 0 {
			t.Errorf("%s", out.String())
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s, want %s", lines[i], want)
			}
		}
	}
}

// TestOwnProgram looks at what cannot stand for this program in a sandbox.
func TestOwnProgram(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\nexit 0\n# long enough to hold a header"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text:                       "looking at " + text + ": bad magic number",
		filepath.Join(dir, "none"): "looking at " + dir + "/none: open " + dir + "/none: no such file or directory",
		"/bin/sh":                  "/bin/sh is not a static program, which sandboxes need: build it with CGO_ENABLED=0, or name one in BUILDSMITH_AGENT",
	} {
		t.Setenv("BUILDSMITH_AGENT", path)
		if _, err := ownProgram(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		if _, err := keepProgram(dir); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// TestRootCertificates reads certificates of authorities.
func TestRootCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	c := &Config{CABundle: file}
	if _, err := c.transport(); err == nil || err.Error() != "ca-bundle: open "+file+": no such file or directory" {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.transport(); err == nil || err.Error() != "ca-bundle: "+file+" holds no certificate in PEM form" {
		t.Error(err)
	}
}
