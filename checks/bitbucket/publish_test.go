package bitbucket

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// TestKeys gives one key to checks of one kind and name, whatever they are of, and never one to two.
func TestKeys(t *testing.T) {
	for name, want := range map[string]string{
		"buildsmith": "-buildsmith", "buildsmith / build": "-build", "buildsmith: shop / post_build": "-postbuild", "日本": "", "Ein sehr langer Name": "-einsehrlange",
	} {
		if got := key(&checks.Report{Name: name}); !strings.HasSuffix(got, want) || len(got) != 27+len(want) {
			t.Errorf("key(%s) = %s, want it to end in %s", name, got, want)
		}
	}
	shape := regexp.MustCompile(`^bs-[0-9a-f]{24}(-[a-z0-9]{1,12})?$`)
	seen := map[string]string{}
	letters := []rune("ab /:-\x00日é")
	for range 20_000 {
		text := make([]rune, rand.IntN(8))
		for n := range text {
			text[n] = letters[rand.IntN(len(letters))]
		}
		r := checks.Report{Kind: []checks.Kind{checks.KindCheck, checks.KindStatus, checks.KindReport}[rand.IntN(3)], Name: string(text)}
		k, is := key(&r), string(r.Kind)+"|"+r.Name
		if was, ok := seen[k]; ok && was != is {
			t.Fatalf("%q and %q have the key %s", was, is, k)
		}
		if seen[k] = is; !shape.MatchString(k) || len(k) > maxKey {
			t.Fatalf("%q has the key %s", is, k)
		}
		r.ExternalID, r.Commit, r.Title = "another", "commit", "and title"
		if again := key(&r); again != k {
			t.Fatalf("%q has the keys %s and %s", is, k, again)
		}
	}
}

func TestCloudState(t *testing.T) {
	for _, tt := range []struct{ status, conclusion, want string }{
		{checks.Queued, "", "INPROGRESS"}, {checks.InProgress, "", "INPROGRESS"},
		{checks.Completed, checks.Success, "SUCCESSFUL"}, {checks.Completed, checks.Failure, "FAILED"}, {checks.Completed, checks.TimedOut, "FAILED"},
		{checks.Completed, checks.Errored, "FAILED"}, {checks.Completed, checks.Cancelled, "STOPPED"}, {checks.Completed, checks.Skipped, "STOPPED"},
		{checks.Completed, checks.ActionRequired, "STOPPED"},
	} {
		if got := cloudState(&checks.Report{Status: tt.status, Conclusion: tt.conclusion}); got != tt.want {
			t.Errorf("%s %s is %s, want %s", tt.status, tt.conclusion, got, tt.want)
		}
	}
}

// TestPages finds builds by the addresses of their pages, and writes addresses in which Bitbucket replaces nothing.
func TestPages(t *testing.T) {
	h := &Host{Config: Config{Page: "https://ci.example.org/builds/"}}
	for address, want := range map[string]string{
		"https://ci.example.org/builds/b1":             "b1",
		"https://ci.example.org/builds/b1?key=x#y":     "b1",
		"https://ci.example.org/builds/b1/log":         "b1",
		"https://ci.example.org/other/b1":              "",
		"https://evil.example.org/builds/b1":           "",
		"https://ci.example.org.evil.example/builds/x": "",
	} {
		if got := h.buildOf(address); got != want {
			t.Errorf("buildOf(%s) = %q, want %q", address, got, want)
		}
	}
	if got := (&Host{}).buildOf("https://ci.example.org/builds/b1"); got != "" {
		t.Errorf("without pages: %q", got)
	}
	if got := h.pageURL(&checks.Report{URL: "https://ci.example.org/builds/b1?key={repository}"}); got != "https://ci.example.org/builds/b1?key=%7Brepository%7D" {
		t.Errorf("%s", got)
	}
	if got := h.pageURL(&checks.Report{ExternalID: "b1/BUILD"}); got != "https://ci.example.org/builds/b1" {
		t.Errorf("%s", got)
	}
}

// TestCloudReport keeps to the limits of what Cloud takes.
func TestCloudReport(t *testing.T) {
	long, percent := strings.Repeat("é", 5000), 87.5
	report := checks.Report{Kind: checks.KindReport, Name: "x", Title: long, Summary: long + "\x1b[31m", Status: checks.Completed, Conclusion: checks.Success, URL: "https://ci/{a}",
		Figures: []checks.Figure{{Title: long, Text: long}, {Title: "Took", Duration: 90 * time.Second}, {Title: "Covered", Percent: &percent}, {Title: "Files", Text: "3 files", URL: "https://ci/{b}"}}}
	for range 20 {
		report.Figures = append(report.Figures, checks.Figure{Title: "more", Text: "x"})
	}
	h := &Host{}
	got := cloud{h}.report(&report)
	if len([]rune(got.Title)) != maxTitle || len([]rune(got.Details)) != maxDetails || got.Result != "PASSED" || got.Link != "https://ci/%7Ba%7D" || len(got.Data) != maxFigures {
		t.Errorf("%+v", got)
	}
	text, err := json.Marshal(got.Data[1:4])
	if want := `[{"title":"Took","type":"DURATION","value":90000},{"title":"Covered","type":"PERCENTAGE","value":87.5},{"title":"Files","type":"LINK","value":{"text":"3 files","href":"https://ci/%7Bb%7D"}}]`; string(text) != want || err != nil {
		t.Errorf("%s %v", text, err)
	}
	if len([]rune(got.Data[0].Title)) != maxTitle || len([]rune(got.Data[0].Value.(string))) != maxTitle {
		t.Errorf("%+v", got.Data[0])
	}
	if report.Conclusion = checks.Failure; (cloud{h}).report(&report).Result != "FAILED" {
		t.Error("a failure")
	}
	if report.Status = checks.InProgress; (cloud{h}).report(&report).Result != "PENDING" {
		t.Error("under way")
	}
}

// TestCloudAnnotations gives every annotation an id of its own, the same each time, and no more than Cloud takes.
func TestCloudAnnotations(t *testing.T) {
	var list []checks.Annotation
	for n := range 1500 {
		list = append(list, checks.Annotation{Path: "a.go", Line: n % 3, Level: []string{checks.LevelFailure, checks.LevelWarning, checks.LevelNotice}[n%3], Title: "t", Message: fmt.Sprint("m", n%10)})
	}
	list[0].Message = strings.Repeat("é", 5000)
	list[1].Title, list[2].Title, list[2].Message = "", "", ""
	got := cloudAnnotations(list)
	if len(got) != maxAnnotated {
		t.Fatalf("%d of them", len(got))
	}
	seen := map[string]bool{}
	for n, a := range got {
		if seen[a.ExternalID] {
			t.Fatalf("%s twice", a.ExternalID)
		}
		seen[a.ExternalID] = true
		if again := cloudAnnotations(list)[n]; n < 5 && again != a {
			t.Errorf("%+v and %+v", a, again)
		}
		text, _ := json.Marshal(a)
		if strings.Contains(string(text), `"line":0`) || a.Summary == "" || len([]rune(a.Details)) > maxDetails {
			t.Errorf("%s", text)
		}
	}
	for n, want := range []struct{ kind, severity, summary string }{{"BUG", "HIGH", "t"}, {"CODE_SMELL", "MEDIUM", "m1"}, {"CODE_SMELL", "LOW", "See the page behind this report"}} {
		if a := got[n]; a.Kind != want.kind || a.Severity != want.severity || a.Summary != want.summary {
			t.Errorf("%+v, want %+v", a, want)
		}
	}
}

// TestListing tells a directory's list from a file that looks like one.
func TestListing(t *testing.T) {
	for text, want := range map[string]bool{
		`{"pagelen":10,"values":[{"type":"commit_file","path":"a"},{"type":"commit_directory"}],"page":1,"size":2}`: true,
		`{"pagelen":10,"values":[]}`: true,
		`{"pagelen":10,"values":[{"type":"commit_file"}],"version":0.2,"phases":{"build":{"commands":["x"]}}}`: false,
		`{"values":[]}`:                          false,
		`{"pagelen":1,"values":[{"type":"x"}]}`:  false,
		`version: 0.2`:                           false,
		``:                                       false,
		`[]`:                                     false,
		`{"PageLen":1,"Values":[],"phases":{}}`:  false,
		` {"pagelen":10,"values":[],"phases":1}`: false,
	} {
		if got := isListing([]byte(text)); got != want {
			t.Errorf("isListing(%s) = %v", text, got)
		}
	}
}

// TestWords reads what Cloud says of a refusal, and believes none of it to be more than words.
func TestWords(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"error","error":{"message":"m"}}`:                                             "m []",
		`{"type":"error","error":{"message":"m","detail":"d"}}`:                                "m: d []",
		`{"type":"error","error":{"message":"m","detail":{"required":["webhook"]}}}`:           "m [the scope webhook]",
		`{"type":"error","error":{"message":"m","detail":{"required":["x y","<a>","ok:it"]}}}`: "m [the scope ok:it]",
		`{"type":"error","error":{"message":"m","fields":{"key":"too long"}}}`:                 "m (key) []",
		`<html>`: " []", ``: " []", `[]`: " []",
	} {
		text, rights := cloud{}.words([]byte(body))
		if got := text + " " + fmt.Sprint(rights); got != want {
			t.Errorf("words(%s) = %s, want %s", body, got, want)
		}
	}
}

// TestNamesEndNoQuotes has somebody choose a name that would leave the quotes around it.
func TestNamesEndNoQuotes(t *testing.T) {
	u := &cloudUser{Type: "user", AccountID: "557058:1", Nickname: "a`\n@all [x](http://evil) " + strings.Repeat("x", 100)}
	if got := u.account(); strings.ContainsAny(got.Login, "`\n") || len([]rune(got.Login)) > maxLogin || got.ID != "557058:1" || got.Bot {
		t.Errorf("%+v", got)
	}
	if got := (&cloudUser{Type: "app_user", DisplayName: "robot"}).account(); got.Login != "robot" || !got.Bot {
		t.Errorf("%+v", got)
	}
	if got := (*cloudUser)(nil).account(); got != (store.Account{}) {
		t.Errorf("%+v", got)
	}
}
