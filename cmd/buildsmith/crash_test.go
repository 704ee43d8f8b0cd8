package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The buildspec of the crash tests takes long enough to be caught in the middle.
const crashSpec = `"version: 0.2\nphases:\n  install: {commands: [echo one]}\n  build:\n    commands:\n      - for i in 1 2 3 4 5; do echo tick $i; sleep 0.2; done\n      - echo artifact > out.txt\nartifacts: {files: [out.txt]}\n"`

// What an undisturbed run gives.
const crashChecks = `buildsmith / build: completed success | Succeeded
buildsmith / install: completed success | Succeeded
buildsmith: completed success | Succeeded
`

const crashLog = `Running on buildsmith
Waiting for agent ping
Waiting for DOWNLOAD_SOURCE
Phase is DOWNLOAD_SOURCE
CODEBUILD_SRC_DIR=/codebuild/output/src1/src/HOST
YAML location is buildspec.yml
Processing environment variables
No runtime version selected in buildspec.
Moving to directory /codebuild/output/src1/src/HOST
Cache is not defined in the buildspec
Registering with agent
Phases found in YAML: 2
 INSTALL: 1 commands
 BUILD: 2 commands
Phase complete: DOWNLOAD_SOURCE State: SUCCEEDED
Phase context status code:  Message: 
Entering phase INSTALL
Running command echo one
one
Phase complete: INSTALL State: SUCCEEDED
Phase context status code:  Message: 
Entering phase PRE_BUILD
Phase complete: PRE_BUILD State: SUCCEEDED
Phase context status code:  Message: 
Entering phase BUILD
Running command for i in 1 2 3 4 5; do echo tick $i; sleep 0.2; done
tick 1
tick 2
tick 3
tick 4
tick 5
Running command echo artifact > out.txt
Phase complete: BUILD State: SUCCEEDED
Phase context status code:  Message: 
Entering phase POST_BUILD
Phase complete: POST_BUILD State: SUCCEEDED
Phase context status code:  Message: 
Entering phase UPLOAD_ARTIFACTS
Expanding base directory path: .
Assembling file list
Expanding file paths for base directory .
Found 1 file(s)
Preparing to copy secondary artifacts
No secondary artifacts defined in buildspec
Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED
Phase context status code:  Message: 
`

// crashPush begins with a push to GitHub.
const crashPush = `github
env DIE='POINT'
serve github MORE
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
`

// crashAgain starts the server again and compares with an undisturbed run: the same builds, the same log to the byte, the same
// checks and no double, nothing that is under way for ever, nothing left behind.
const crashAgain = `serve github MORE
build octo-hello
stdout '^octo-hello#1 SUCCEEDED$'
checks $SHA
cmp stdout checks
logtext $BUILD
cmp stdout log
count octo-hello
stdout '^1$'
exec curl -sf -H @admin $URL/api/builds/$BUILD/artifacts
stdout '"out.txt"'
exec curl -sf -H @admin $URL/api/queue
! stdout octo-hello
right
nothing-left
term

-- checks --
CHECKS-- log --
LOG-- always.yml --
pull: always
-- warm.yml --
warm: 1
`

// TestCrashes kills the real server with SIGKILL at each point where it could die, starts it again, and compares.
func TestCrashes(t *testing.T) {
	died := "died\n"
	rows := map[string]string{
		"01-after-the-answers-transaction":  crashPush + died + crashAgain,
		"02-looked-up-and-not-decided":      crashPush + died + crashAgain,
		"03-between-decode-and-create":      crashPush + died + crashAgain,
		"04-claimed":                        crashPush + died + crashAgain,
		"05-half-a-checkout":                crashPush + died + crashAgain,
		"06-image-being-pulled":             strings.ReplaceAll(crashPush+died+crashAgain, " MORE", " always.yml"),
		"07-created-and-not-started":        crashPush + died + crashAgain,
		"08-job-handed-and-not-read":        crashPush + died + crashAgain,
		"09-started":                        crashPush + died + crashAgain,
		"10-stop-requested-and-not-done":    crashStop,
		"11-ended-and-not-read":             crashPush + "running octo-hello\nsigkill\nexec sleep 3\n" + crashAgain,
		"12-artifacts-partly-taken":         crashPush + died + crashAgain,
		"13-final-write-before-remove":      crashPush + died + crashAgain,
		"14-final-write-before-report":      crashPush + died + "gh get check-runs repo=octo/hello sha=$SHA name=buildsmith\n! stdout success\n" + crashAgain,
		"15-check-created-and-not-stored":   crashPush + died + crashAgain,
		"16-comment-acknowledged-not-noted": crashComment,
		"17-refs-moved-delivery-not-stored": crashLocal,
		"18-warm-sandbox-waiting":           crashWarm,
		"19-docker-killed":                  "", // TestDockerKilled
		"20-disk-full":                      "", // TestDiskFull
		"21-host-rebooted":                  crashReboot,
		"22-source-ready-and-not-handed":    crashPush + died + crashAgain,
		"23-done-read-and-not-recorded":     crashPush + died + crashAgain,
		"24-decided":                        crashPush + died + crashAgain,
		"25-undisturbed":                    strings.Replace(crashPush, "env DIE='POINT'\n", "", 1) + "build octo-hello\n" + crashAgain,
	}
	points := map[string]string{
		"01": "delivery stored", "02": "looked up", "03": "decoded", "04": "claimed", "05": "half a checkout", "06": "pulling",
		"07": "container created", "08": "handed", "09": "followed", "10": "stop seen", "12": "artifacts partly taken", "13": "ended", "14": "before the end is told",
		"15": "check created", "16": "comment acknowledged", "17": "refs moved", "18": "sandbox waits", "22": "source ready", "23": "done read", "24": "decided",
	}
	dir := t.TempDir()
	for name, text := range rows {
		if text == "" {
			continue
		}
		host := strings.Contains(text, "crash-local")
		text = strings.NewReplacer(" MORE", "", "POINT", points[name[:2]], "SPEC", crashSpec, "CHECKS", crashChecks).Replace(text)
		log := strings.ReplaceAll(crashLog, "HOST", "HOSTNAME")
		if host {
			log = strings.ReplaceAll(crashLog, "HOST", "local/crash-local")
		} else {
			log = strings.ReplaceAll(log, "HOSTNAME", "127.0.0.1/octo/hello")
		}
		text = strings.Replace(text, "\nLOG", "\n"+log, 1)
		text = strings.Replace(text, "-- log --\nLOG", "-- log --\n"+log, 1)
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runScripts(t, dir)
}

// crashStop has somebody stop the build; the server dies when it has seen that.
const crashStop = `github
env DIE='POINT'
serve github
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": "version: 0.2\nphases: {build: {commands: [echo begun, sleep 600, echo never]}, post_build: {commands: [echo never]}}\n"}'
gh do push repo=octo/hello ref=refs/heads/main
running octo-hello
exec sh -c 'buildsmith stop --data $DATA $BUILD || true'
died
serve github
build octo-hello
stdout '^octo-hello#1 STOPPED$'
stdout '^BUILD STOPPED Stopped by an administrator.$'
! stdout POST_BUILD
checks $SHA
cmp stdout stopped
count octo-hello
stdout '^1$'
right
nothing-left
term

-- stopped --
buildsmith / build: completed cancelled | Stopped
buildsmith / post_build: completed cancelled | Not run
buildsmith: completed cancelled | Stopped in BUILD
`

// crashComment dies when a comment has its reaction and no build yet.
const crashComment = `github
gh do user user=alice
gh do permission repo=octo/hello user=alice role=write
serve github
gh do commit repo=octo/hello branch=feature message=Feature 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/feature
build octo-hello
gh do pull-request repo=octo/hello head=feature user=alice title=Feature
term
env DIE='POINT'
serve github
gh do comment repo=octo/hello number:=1 user=alice body=/test
died
serve github
build octo-hello 2
stdout '^octo-hello#2 SUCCEEDED$'
exec sleep 1
count octo-hello
stdout '^2$'
gh get comments repo=octo/hello number=1
right
nothing-left
term
`

// crashLocal dies in a push to the built-in forge: the refs have moved, nobody knows.
const crashLocal = `env DIE='POINT'
serve local
commit crash-local
! exec git -C crash-local push $URL/git/crash-local.git HEAD:main
died
serve local
build crash-local
stdout '^crash-local#1 SUCCEEDED$'
logtext $BUILD
cmp stdout log
count crash-local
stdout '^1$'
exec git -C crash-local push $URL/git/crash-local.git HEAD:main
stderr 'Everything up-to-date'
count crash-local
stdout '^1$'
nothing-left
term

-- log --
LOG-- crash-local/buildspec.yml --
version: 0.2
phases:
  install: {commands: [echo one]}
  build:
    commands:
      - for i in 1 2 3 4 5; do echo tick $i; sleep 0.2; done
      - echo artifact > out.txt
artifacts: {files: [out.txt]}
`

// crashWarm dies when a sandbox waits: the next server takes it for the next build, or removes it.
const crashWarm = `github
env DIE='POINT'
serve github warm.yml
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
died
serve github warm.yml
build octo-hello
stdout '^octo-hello#1 SUCCEEDED$'
gh do commit repo=octo/hello branch=main message=More
gh do push repo=octo/hello ref=refs/heads/main
build octo-hello 2
stdout '^octo-hello#2 SUCCEEDED$'
checks $SHA
cmp stdout checks
term
nothing-left
right

-- checks --
CHECKS-- warm.yml --
warm: 1
`

// crashReboot has the containers go with the server: the build is a fault of ours and repeated once by itself.
const crashReboot = `github
serve github
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
running octo-hello
sigkill
exec sh -c 'docker rm -f $(docker ps -aq --filter label=buildsmith.sandbox --filter volume=$DATA/run/$(ls $DATA/run)/source)'
serve github
build octo-hello 2
stdout '^octo-hello#2 SUCCEEDED$'
logtext $BUILD
cmp stdout log
checks $SHA
stdout '^buildsmith: completed success'
stdout '^buildsmith: completed failure \| Internal error in BUILD$'
count octo-hello
stdout '^2$'
right
nothing-left
term

-- log --
LOG`
