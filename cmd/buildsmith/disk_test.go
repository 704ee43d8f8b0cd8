package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"buildsmith/runner/runnertest"
)

// diskLow fills the disk until less than the server's own reserve is free, while one build runs and another one waits.
const diskLow = `github
serve github one.yml
commit shop
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
running octo-hello
gh do commit repo=octo/hello branch=waits message=Waits
gh do push repo=octo/hello ref=refs/heads/waits
exec timeout 20 sh -c 'until curl -sf -H @admin $URL/api/queue | grep -q "\"waiting\":1"; do sleep 0.1; done'
exec fallocate -l 300M $DATA/filler

# A delivery is refused and leaves nothing.
gh do commit repo=octo/hello branch=refused message=Refused
gh do push repo=octo/hello ref=refs/heads/refused
stdout '"status_code": 503'
stdout 'the disk of this server is nearly full; send the delivery again later'
exec curl -sf -H @admin $URL/api/deliveries
! stdout $GUID
exec curl -sf $URL/healthz
exec sh -c 'curl -sf $URL/metrics | sed -n "s/^buildsmith_disk_\([a-z]*\)_bytes/\1/p" | xargs'
stdout '^free 2\.0\d*e\+09 reserve 2\.147483648e\+09$'
exec curl -sf $URL/metrics
stdout '^buildsmith_deliveries_total\{answer="refused"\} 1$'
stdout '^buildsmith_deliveries_total\{answer="accepted"\} 2$'
! exec git -C shop push $URL/git/shop.git HEAD:main
stderr '503|nearly full'
! exists $DATA/git/shop.git

# What runs goes on; what waits waits, and it is said for what.
exec timeout 30 sh -c 'until curl -sf -H @admin $URL/api/queue | grep -q obstacle; do sleep 0.1; done'
exec curl -sf -H @admin $URL/api/queue
stdout '"obstacle":"The disk of the build host is nearly full: 1\.\d+ GiB of 2\.25 GiB are free, 2 GiB are kept free\. Nothing new begins\.","waiting":1'
stdout '"running":\[\]'
exec sh -c 'curl -sf "$(buildsmith show --data $DATA octo-hello#2 | sed -n 2p)"'
stdout 'The disk of the build host is nearly full'
exec buildsmith list --data $DATA
stdout '^octo-hello#2 +QUEUED '
stdout '^octo-hello#1 +SUCCEEDED '

# With room again the delivery is taken that is sent once more, and both builds succeed.
rm $DATA/filler
gh do replay guid=$GUID
stdout '"status_code": 202'
build octo-hello 3
stdout '^octo-hello#3 SUCCEEDED$'
checks $SHA
cmp stdout checks
exec buildsmith list --data $DATA
stdout '^octo-hello#2 +SUCCEEDED '
exec curl -sf -H @admin $URL/api/queue
! stdout obstacle
right
nothing-left
term

-- one.yml --
slots: 1
local-forge: true
-- shop/buildspec.yml --
version: 0.2
phases: {build: {commands: [echo hi]}}
-- checks --
CHECKS`

// diskFull leaves not a byte for longer than the server looks on: it ends the build, and repeats it when there is room.
var diskFull = diskFills + `exec sleep 5
exec curl -sf $URL/healthz
rm $DATA/filler
` + strings.NewReplacer("stdout '^tick 1$'\n", "",
	"REASON", "The (disk of the build host is nearly full, and this build was the last to begin|build.s container is gone)").Replace(dockerRepeats) + "-- small.yml --\nreserve: 16MiB\n"

// diskRestart has the server killed meanwhile: the build waits for room, and nothing that it prints is lost.
var diskRestart = diskFills + `sigkill
exec sleep 4
rm $DATA/filler
serve github small.yml
` + dockerGoesOn + "-- small.yml --\nreserve: 16MiB\n"

// diskFills fills the disk to the last byte while a build runs.
const diskFills = `github
serve github small.yml
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
running octo-hello
! exec sh -c 'cat /dev/zero > $DATA/filler'
stderr 'No space left on device'
`

// diskGreedy is a build that uses up what is left.
const diskGreedy = `github
serve github small.yml
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"head -c 180M /dev/zero > big; sleep 600\"]}}\n"}'
gh do push repo=octo/hello ref=refs/heads/main
build octo-hello
stdout '^octo-hello#1 FAILED$'
stdout '^BUILD FAILED The disk of the build host is nearly full, and this build used 18\d MiB of it\.$'
checks $SHA
stdout '^buildsmith: completed failure '
nothing-left
gh do commit repo=octo/hello branch=main message=Less 'files:={"buildspec.yml": "version: 0.2\nphases: {build: {commands: [echo hi]}}\n"}'
gh do push repo=octo/hello ref=refs/heads/main
build octo-hello 2
stdout '^octo-hello#2 SUCCEEDED$'
right
nothing-left
term

-- small.yml --
reserve: 128MiB
`

var tickLine = regexp.MustCompile(`(?m)^tick (\d)$`)

// TestDiskFull fills the disk below the data directory.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		runnertest.Missing(t, "root, who may mount,")
	}
	dir := t.TempDir()
	mounts, err := os.MkdirTemp("", "disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unmountBelow(t, mounts)
		if err := os.RemoveAll(mounts); err != nil {
			t.Error(err)
		}
	})
	for _, row := range []struct{ name, size, script, pause string }{
		{"low", "2304m", diskLow, "0.5"},
		{"full", "256m", diskFull, "1.6"},
		{"full-and-restarted", "256m", diskRestart, "1.6"},
		{"greedy", "256m", diskGreedy, ""},
	} {
		data := filepath.Join(mounts, row.name)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size="+row.size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeContainers(data) })
		text := slowly(row.script, row.pause)
		if strings.HasPrefix(row.name, "full") { // the builds print much
			text = strings.ReplaceAll(text, "echo tick $i", "printf %020000d $i; echo")
			text = tickLine.ReplaceAllString(text, strings.Repeat("0", 19999)+"$1")
		}
		if err := os.WriteFile(filepath.Join(dir, row.name+".txtar"), []byte(fmt.Sprintf("env DATA=%s\n%s", data, text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runScripts(t, dir)
}
