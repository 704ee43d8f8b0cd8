package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/store"
)

// TestLiesAboutWhatIsLeft has builds write the end of their own story: what they tell of archives, reports and caches is checked
// before anything is done with it, and a lie is the build's own failure or nothing.
func TestLiesAboutWhatIsLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		events  []string // without number and time
		before  string   // a command that comes first
		status  store.Status
		message string // of the headline
		log     string
	}{
		"negative offset":  {[]string{`"k":"artifacts","off":-5,"len":10`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"negative length":  {[]string{`"k":"artifacts","off":0,"len":-10`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"beyond the end":   {[]string{`"k":"artifacts","off":4611686018427387904,"len":4611686018427387904`}, "true", store.Succeeded, "", ""},
		"an id that leads": {[]string{`"k":"artifacts","id":"../../x","off":0,"len":1024`}, "true", store.Failed, `the identifier "../../x"`, ""},
		"a prefix":         {[]string{`"k":"artifacts","d":"/etc","off":0,"len":1024`}, "true", store.Failed, "artifact archive damaged by the build", ""},
		"no archive":       {[]string{`"k":"artifacts","off":0,"len":1024`}, "head -c 1024 /dev/urandom > /buildsmith/exchange/artifacts.tar", store.Failed, "artifact archive damaged by the build", ""},
		"a link for an archive": {[]string{`"k":"artifacts","off":0,"len":1024`}, "rm /buildsmith/exchange/artifacts.tar && ln -s /etc/shadow /buildsmith/exchange/artifacts.tar",
			store.Failed, "artifact archive damaged by the build", ""},
		"reports of nothing": {[]string{`"k":"report","i":0,"m":"unit","c":"JUNITXML"`, `"k":"report","i":7,"m":"x"`, `"k":"report","i":1,"m":"odd","c":"NO"`,
			`"k":"artifacts","id":"-reports","off":0,"len":1024`}, "head -c 1024 /dev/zero > /buildsmith/exchange/artifacts.tar", store.Succeeded, "", ""},
		"no cache":       {[]string{`"k":"cache","m":"k","d":"0123456789abcdef"`}, "true", store.Succeeded, "", ""},
		"a cache's key":  {[]string{`"k":"cache","m":"k\nl","d":"0123456789abcdef"`}, "echo > /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"a FIFO":         {[]string{`"k":"cache","m":"k","d":"0123456789abcdef"`}, "mkfifo /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"a file of ours": {[]string{`"k":"cache","m":"k","d":"0123456789abcdef"`}, "ln -s /etc/shadow /buildsmith/exchange/cache.tar.zst", store.Succeeded, "", "Unable to upload cache: "},
		"use and damage": {[]string{`"k":"restored","id":"../../x","d":"../.."`, `"k":"broken","id":"../../x","d":"other"`, `"k":"broken","id":"x","d":"default"`}, "true", store.Succeeded, "", ""},
		"retries":        {nil, "true", store.Succeeded, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for an agent that does not know of the end
			b := newBench(t, nil)
			b.config.Caches = filepath.Join(t.TempDir(), "caches")
			b.start()
			var script strings.Builder
			script.WriteString(tt.before + "; f=/buildsmith/exchange/events; n=$(wc -l < $f)\n")
			for i, e := range append(tt.events, `"k":"done","s":"SUCCEEDED","again":true`) {
				fmt.Fprintf(&script, "printf '{\"n\":%%d,\"t\":1,%%s}\\n' $((n + %d)) '%s' >> $f\n", i, strings.ReplaceAll(e, `\`, `\\`))
			}
			script.WriteString("sleep 60\n")
			build := b.run("version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        " + strings.ReplaceAll(script.String(), "\n", "\n        "))
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
			if kept, err := filepath.Glob(filepath.Join(b.config.Caches, "*", "*", "*")); err != nil || len(kept) > 0 {
				t.Errorf("kept %q %v", kept, err)
			}
			if _, err := os.Stat("/etc/shadow"); err != nil {
				t.Error(err)
			}
		})
	}
}
