package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bucketEvent is the name of an event of Bitbucket, of either kind.
var bucketEvent = regexp.MustCompile("`((?:repo|pullrequest|pr|diagnostics|mirror|project|issue):[a-z_:]+)`")

// bucketFile is a file in an example of a configuration.
var bucketFile = regexp.MustCompile(`/etc/buildsmith/[a-z.-]+`)

// TestDocsOfBitbucket holds docs/bitbucket.md to what there is: every event that means something, and none that there is not; every
// setting; and every example is a configuration.
func TestDocsOfBitbucket(t *testing.T) {
	const path = "docs/bitbucket.md"
	want, known := map[string]string{}, []string{"diagnostics:ping"}
	for file, maps := range map[string][]string{"webhook/bitbucket/cloud.go": {"decode", "cloudPulls"}, "webhook/bitbucket/datacenter.go": {"decode", "serverPulls"}} {
		for _, variable := range maps {
			for _, event := range keysOfMap(t, file, variable) {
				want["`"+event+"`"] = "event"
				known = append(known, event)
			}
		}
	}
	known = append(append(known, keysOfMap(t, "webhook/bitbucket/cloud.go", "cloudQuiet")...), keysOfMap(t, "webhook/bitbucket/datacenter.go", "serverQuiet")...)
	text := document(t, path)
	_, events, _ := strings.Cut(text, "\n## Events\n")
	events, _, _ = strings.Cut(events, "\n## ")
	for _, m := range bucketEvent.FindAllStringSubmatch(events, -1) {
		if !slices.Contains(known, m[1]) {
			t.Errorf("%s names the event %s, which there is not", path, m[1])
		}
	}
	for _, key := range keysOfSettings(reflect.TypeFor[Bitbucket](), "") {
		want["`"+key+"`"] = "setting"
	}
	holds(t, path, want, map[string]int{"event": 18, "setting": 15})

	blocks := regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```$").FindAllStringSubmatch(text, -1)
	for _, block := range blocks {
		indent := block[1][:len(block[1])-len(strings.TrimLeft(block[1], " "))]
		config := strings.TrimPrefix(strings.ReplaceAll(block[1], "\n"+indent, "\n"), indent)
		config = regexp.MustCompile(`(?m)^ca-bundle: .*$`).ReplaceAllString(config, "") // there is no such authority
		c, dir, err := load(t, bucketFile.ReplaceAllString(config, "DIR/secret")+"\n")
		if err != nil {
			t.Errorf("%s\n%s: %v", block[1], dir, err)
			continue
		}
		for n := range c.Forges.Bitbucket {
			if _, err := openBucket(c, &c.Forges.Bitbucket[n], []string{"secret"}, nil, nil); err != nil {
				t.Errorf("%s\n%v", block[1], err)
			}
		}
	}
	if len(blocks) < 7 {
		t.Errorf("%d examples", len(blocks))
	}
}
