package runnertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// DebianImage is the build image that `make image` makes: Debian with git, curl and certificates.
const DebianImage = "localhost/buildsmith-build:bookworm"

// BusyboxImage is an image of one static busybox, made when it is asked for.
const BusyboxImage = "localhost/buildsmith-test-busybox:1"

// Missing skips a test because the machine lacks something that `make test` installs, or fails it where all of it must be
// there: BUILDSMITH_TEST_ALL is set.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("BUILDSMITH_TEST_ALL") != "" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing; `make test` installs it", what)
}

// NeedDocker skips or fails a test unless a Docker engine answers and has the image.
func NeedDocker(t testing.TB, image string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, "docker", "version").Run(); err != nil {
		Missing(t, "a Docker engine")
	}
	if image == BusyboxImage {
		makeBusybox(t)
		return
	}
	if err := exec.CommandContext(ctx, "docker", "image", "inspect", image).Run(); err != nil {
		Missing(t, "the image "+image)
	}
}

var busybox sync.Mutex

func makeBusybox(t testing.TB) {
	t.Helper()
	busybox.Lock()
	defer busybox.Unlock()
	if exec.Command("docker", "image", "inspect", BusyboxImage).Run() == nil {
		return
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		Missing(t, "/bin/busybox (package busybox-static)")
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for applet := range bytes.FieldsSeq(applets) {
		if string(applet) != "busybox" {
			add(tar.Header{Name: "bin/" + string(applet), Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
		}
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	add(tar.Header{Name: "root/", Typeflag: tar.TypeDir, Mode: 0o700}, nil)
	w.Close()
	cmd := exec.Command("docker", "import", "--change", "ENV PATH=/bin", "-", BusyboxImage)
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
}

var (
	programOnce sync.Once
	programPath string
	programErr  error
)

// Program builds the buildsmith program as it is shipped, a static binary, once for all tests of a test binary, and gives its
// path. RemoveProgram removes it.
func Program(t testing.TB) string {
	t.Helper()
	programOnce.Do(func() {
		var dir string
		if dir, programErr = os.MkdirTemp("", "buildsmith-test-"); programErr != nil {
			return
		}
		programPath = filepath.Join(dir, "buildsmith")
		cmd := exec.Command("go", "build", "-o", programPath, "buildsmith/cmd/buildsmith")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			programErr = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if programErr != nil {
		t.Fatal(programErr)
	}
	return programPath
}

// RemoveProgram removes what Program built.
func RemoveProgram() {
	if programPath != "" {
		os.RemoveAll(filepath.Dir(programPath))
	}
}
