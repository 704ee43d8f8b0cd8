package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"buildsmith/runner/runnertest"
)

// registry serves one image, the busybox one under a name of its own, to whoever knows a name and a password: as much of the
// distribution protocol as an engine needs to pull. https://distribution.github.io/distribution/spec/api/
func registry(t *testing.T, pulls *atomic.Int32) *httptest.Server {
	runnertest.NeedDocker(t, runnertest.BusyboxImage)
	saved, err := exec.Command("docker", "save", runnertest.BusyboxImage).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(bytes.NewReader(saved)); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
	var images []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &images); err != nil || len(images) != 1 || len(images[0].Layers) != 1 {
		t.Fatalf("%v: %s", err, files["manifest.json"])
	}
	blobs := map[string][]byte{}
	add := func(blob []byte) map[string]any {
		sum := sha256.Sum256(blob)
		digest := "sha256:" + hex.EncodeToString(sum[:])
		blobs[digest] = blob
		return map[string]any{"size": len(blob), "digest": digest}
	}
	var config map[string]any
	if err := json.Unmarshal(files[images[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	config["comment"] = t.Name() // an image of its own
	text, _ := json.Marshal(config)
	configBlob, layer := add(text), add(files[images[0].Layers[0]])
	configBlob["mediaType"], layer["mediaType"] = "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"
	const manifestType = "application/vnd.docker.distribution.manifest.v2+json"
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": configBlob, "layers": []any{layer}})
	digest := add(manifest)["digest"].(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		path, ok := strings.CutPrefix(r.URL.Path, "/v2/team/build/")
		switch {
		case name != "bot" || password != "open sesame":
			w.Header().Set("WWW-Authenticate", `Basic realm="team"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		case r.URL.Path == "/v2/":
		case ok && (path == "manifests/1" || path == "manifests/"+digest):
			pulls.Add(1)
			w.Header().Set("Content-Type", manifestType)
			w.Header().Set("Docker-Content-Digest", digest)
			w.Header().Set("Content-Length", fmt.Sprint(len(manifest)))
			w.Write(manifest)
		case ok && blobs[strings.TrimPrefix(path, "blobs/")] != nil:
			w.Write(blobs[strings.TrimPrefix(path, "blobs/")])
		default:
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestRegistry has a real engine pull a build's image with the credentials of the configuration, once; and has the server
// remove it when nobody has used it for a while. With wrong credentials the build ends in a fault, and an image that is not
// there fails it, in the registry's words.
func TestRegistry(t *testing.T) {
	var pulls atomic.Int32
	host := strings.TrimPrefix(registry(t, &pulls).URL, "http://")
	image := host + "/team/build:1"
	t.Cleanup(func() { exec.Command("docker", "image", "rm", image).Run() })
	script := `
serve local wrong.yml
cp buildspec.yml work/buildspec.yml
commit work
exec git -C work push -q $URL/git/pulled.git HEAD:main
build pulled 2
stdout '^pulled#2 FAULT$'
stdout '^PROVISIONING FAULT image HOST/team/build:1: .*unauthorized'

serve local right.yml
exec git -C work push -q $URL/git/pulled.git HEAD:two
build pulled 3
stdout '^pulled#3 SUCCEEDED$'
logtext $BUILD
stdout '^BusyBox'
exec git -C work push -q $URL/git/pulled.git HEAD:three
build pulled 4
stdout '^pulled#4 SUCCEEDED$'
exec docker image inspect IMAGE
exec git -C work push -q $URL/git/absent.git HEAD:main
build absent
stdout '^absent#1 FAILED$'
stdout '^PROVISIONING FAILED .*HOST/team/none:1'
! exec grep -r "open sesame" $DATA

serve local sweep.yml
exec sleep 2
! exec docker image inspect IMAGE
term

-- buildspec.yml --
version: 0.2
phases: {build: {commands: ['busybox | head -n 1']}}
-- work/file --
-- password --
open sesame
-- none --
guess
-- wrong.yml --
registries: {"HOST": {username: bot, password: {file: none}}}
projects: [{name: pulled, repository: pulled, image: "IMAGE"}]
-- right.yml --
registries: {"HOST": {username: bot, password: {file: password}}}
projects: [{name: pulled, repository: pulled, image: "IMAGE"}, {name: absent, repository: absent, image: "HOST/team/none:1"}]
-- sweep.yml --
retention: {images: 1s}
`
	script = strings.NewReplacer("IMAGE", image, "HOST", host).Replace(script)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "registry.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the script runs beside others, after this function
		if n := pulls.Load(); n == 0 || n > 2 { // an engine asks for a manifest by tag, and may ask by digest
			t.Errorf("the image was asked for %d times", n)
		}
	})
	runScripts(t, dir)
}
