package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/cache"
	"buildsmith/store"
)

// TestLiesAboutWhatIsLeft has builds write the end of their own story: what they tell of archives, reports and caches is checked
// before anything is done with it, and a lie is the build's own failure or nothing.
func TestLiesAboutWhatIsLeft(t *testing.T) {
	const zeros = "head -c 4096 /dev/zero > /buildsmith/exchange/artifacts.tar"
	planned := cache.Version([]string{"kept"})
	for name, tt := range map[string]struct {
		events  []string // without number and time
		before  string   // a command that comes first
		status  store.Status
		message string // of the headline
		log     string
	}{
		"negative offset":  {[]string{`"k":"artifacts","off":-5,"len":10`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"negative length":  {[]string{`"k":"artifacts","off":0,"len":-10`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"beyond the end":   {[]string{`"k":"artifacts","off":4611686018427387904,"len":4611686018427387904`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"no length":        {[]string{`"k":"artifacts","off":0`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"twice":            {[]string{`"k":"artifacts","off":0,"len":1024`, `"k":"artifacts","off":1024,"len":1024`}, zeros, store.Failed, "artifact archive damaged by the build", ""},
		"one over another": {[]string{`"k":"artifacts","off":0,"len":1024`, `"k":"artifacts","id":"docs","off":512,"len":1024`}, zeros, store.Failed, "artifact archive damaged by the build", ""},
		"not planned":      {[]string{`"k":"artifacts","id":"other","off":0,"len":1024`}, zeros, store.Failed, "artifact archive damaged by the build", ""},
		"the second is none": {[]string{`"k":"artifacts","off":0,"len":1024`, `"k":"artifacts","id":"docs","off":1024,"len":1024`},
			"(head -c 1024 /dev/zero; head -c 1024 /dev/urandom) > /buildsmith/exchange/artifacts.tar", store.Failed, "artifact archive damaged by the build", ""},
		"an id that leads": {[]string{`"k":"artifacts","id":"../../x","off":0,"len":1024`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"a prefix":         {[]string{`"k":"artifacts","d":"/etc","off":0,"len":1024`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"no archive":       {[]string{`"k":"artifacts","off":0,"len":1024`}, "head -c 1024 /dev/urandom > /buildsmith/exchange/artifacts.tar", store.Failed, "artifact archive damaged by the build", ""},
		"a link for an archive": {[]string{`"k":"artifacts","off":0,"len":1024`}, "rm /buildsmith/exchange/artifacts.tar && ln -s /etc/shadow /buildsmith/exchange/artifacts.tar",
			store.Failed, "artifact archive damaged by the build", ""},
		"reports of nothing": {[]string{`"k":"report","i":0,"m":"unit","c":"JUNITXML"`, `"k":"report","i":7,"m":"x"`, `"k":"report","i":1,"m":"odd","c":"NO"`,
			`"k":"artifacts","id":"-reports","off":0,"len":1024`}, "head -c 1024 /dev/zero > /buildsmith/exchange/artifacts.tar", store.Succeeded, "", ""},
		"no cache":               {[]string{`"k":"cache","m":"k","d":"` + planned + `"`}, "true", store.Succeeded, "", ""},
		"a cache of other paths": {[]string{`"k":"cache","m":"k","d":"0123456789abcdef"`}, "printf '\\050\\265\\057\\375' > /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", ""},
		"a cache's key":          {[]string{`"k":"cache","m":"k\nl","d":"` + planned + `"`}, "echo > /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"a FIFO":                 {[]string{`"k":"cache","m":"k","d":"` + planned + `"`}, "mkfifo /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"a file of ours":         {[]string{`"k":"cache","m":"k","d":"` + planned + `"`}, "ln -s /etc/shadow /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"use and damage":         {[]string{`"k":"restored","id":"../../x","d":"../.."`, `"k":"broken","id":"../../x","d":"other"`, `"k":"broken","id":"x","d":"default"`}, "true", store.Succeeded, "", ""},
		"retries":                {nil, "true", store.Succeeded, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.config.Caches = filepath.Join(t.TempDir(), "caches")
			b.start()
			var script strings.Builder
			script.WriteString(tt.before + "; f=/buildsmith/exchange/events; n=$(wc -l < $f)\n")
			for i, e := range append(tt.events, `"k":"done","s":"SUCCEEDED","again":true`) {
				fmt.Fprintf(&script, "printf '{\"n\":%%d,\"t\":1,%%s}\\n' $((n + %d)) '%s' >> $f\n", i, strings.ReplaceAll(e, `\`, `\\`))
			}
			script.WriteString("sleep 1; exit 1\n") // the agent goes on and ends, and nobody reads what it says
			build := b.run("version: 0.2\nartifacts: {files: ['*'], secondary-artifacts: {docs: {files: ['*']}}}\nreports: {unit: {files: ['*.xml']}, odd: {files: ['*.xml']}}\n" +
				"cache: {paths: [kept]}\nphases:\n  build:\n    on-failure: ABORT\n    commands:\n      - |\n        " + strings.ReplaceAll(script.String(), "\n", "\n        "))
			if build.Status != tt.status {
				t.Errorf("%s, want %s", build.Status, tt.status)
			}
			if p := build.Phase(store.PhaseUploadArtifacts); tt.message != "" && (p == nil || !strings.Contains(p.Message, tt.message)) {
				t.Errorf("%+v, want %q", p, tt.message)
			}
			if !strings.Contains(b.log(build.ID), tt.log) {
				t.Errorf("the log lacks %q:\n%s", tt.log, b.log(build.ID))
			}
			if tt.log == "" && strings.Contains(b.log(build.ID), "Unable") {
				t.Errorf("an odd line in the log:\n%s", b.log(build.ID))
			}
			if build.RerunBy != "" {
				t.Error("a build that has no RETRY was repeated")
			}
			if name == "reports of nothing" && (len(build.Reports) != 2 || build.Reports[0].Status != store.ReportIncomplete || build.Reports[1].Status != store.ReportIncomplete) {
				t.Errorf("%+v", build.Reports)
			}
			if left, err := filepath.Glob(filepath.Join(b.store.Dir(), "artifacts", build.ID+"*")); err != nil || tt.status == store.Failed && len(left) > 0 {
				t.Errorf("left %q %v", left, err)
			}
			if kept, err := filepath.Glob(filepath.Join(b.config.Caches, "*", "*", "*")); err != nil || len(kept) > 0 {
				t.Errorf("kept %q %v", kept, err)
			}
			if _, err := os.Stat("/etc/shadow"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStopOfASparseArchive has somebody stop a build while the server reads what it left: an archive that is small on the disk
// and takes minutes to read.
func TestStopOfASparseArchive(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", `version: 0.2
artifacts: {files: [big]}
phases:
  build:
    on-failure: ABORT
    commands:
      - |
        truncate -s 60G /tmp/big; cd /tmp; a=/buildsmith/exchange/artifacts.tar; ls -l /tmp/big
        tar -cf - big 2>/dev/null | head -c 512 > $a; truncate -s 61G $a
        f=/buildsmith/exchange/events; n=$(wc -l < $f)
        printf '{"n":%d,"t":1,"k":"artifacts","len":64424510976}\n{"n":%d,"t":1,"k":"done","s":"SUCCEEDED"}\n' $n $((n + 1)) >> $f
        sleep 1; exit 1
`)
	build := b.submit(func(x *store.Build) { x.Settings.Disk, x.Settings.Timeout = 1<<40, 10*time.Minute })
	partly := filepath.Join(b.store.Dir(), "artifacts", build.ID+".zip.tmp")
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(partly); err == nil {
			break
		}
		if x, err := b.store.Build(build.ID); err != nil || x.Done() || time.Now().After(end) {
			t.Fatalf("nothing is taken: %s %v %+v\n%s", x.Status, err, x.Phases, b.log(build.ID))
		}
	}
	if err := b.store.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(build.ID, "a test"); return err }); err != nil {
		t.Fatal(err)
	}
	build = b.done(build.ID)
	if build.Status != store.Stopped || build.Artifacts != nil {
		t.Errorf("%s %+v", build.Status, build.Artifacts)
	}
	if left, err := filepath.Glob(filepath.Join(b.store.Dir(), "artifacts", build.ID+"*")); err != nil || len(left) > 0 {
		t.Errorf("left %q %v", left, err)
	}
}

// TestAgentOfTheReleaseBefore has a build that an earlier release began end under this one: its agent tells of one archive, and not
// where it ends.
func TestAgentOfTheReleaseBefore(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", `version: 0.2
artifacts: {files: [out]}
phases:
  build:
    on-failure: ABORT
    commands:
      - |
        until [ -e /buildsmith/exchange/go ]; do sleep 0.05; done
        echo artifact > /tmp/out; tar -C /tmp -cf /buildsmith/exchange/artifacts.tar out
        f=/buildsmith/exchange/events; n=$(wc -l < $f)
        printf '{"n":%d,"t":1,"k":"artifacts","m":"old","files":1}\n{"n":%d,"t":1,"k":"done","s":"SUCCEEDED"}\n' $n $((n + 1)) >> $f
        sleep 1; exit 1
`)
	build := b.submit(nil)
	build = b.until(build.ID, func(x *store.Build) bool { return x.Phase(store.PhaseBuild) != nil })
	if _, err := b.store.ChangeBuild(build.ID, func(x *store.Build) error { x.Planned = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.config.Dir, build.Sandbox.ID, "exchange", "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if build = b.done(build.ID); build.Artifacts == nil || build.Artifacts.Name != "old" || build.Artifacts.Files != 1 {
		t.Errorf("%s %+v %s\n%s", build.Status, build.Artifacts, phasesOf(&build), b.log(build.ID))
	}
}
