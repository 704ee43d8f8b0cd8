package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitTime is how long await waits. A change of a state goes out every ten seconds at most.
const awaitTime = 40 * time.Second

// awaitScript repeats a question until what it prints matches a pattern, and prints that.
func awaitScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await pattern gh|reason ...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out []byte
	for limit := time.Now().Add(awaitTime); ; time.Sleep(150 * time.Millisecond) {
		out, err = awaited(ts, args[1:])
		if err == nil && pattern.Match(out) {
			fmt.Fprint(ts.Stdout(), string(out))
			return
		}
		if time.Now().After(limit) {
			ts.Fatalf("%v does not print %s but %v\n%s\n%s", args[1:], args[0], err, out, serverSaid(ts))
		}
	}
}

// awaited is what a command of await prints: a thing of the fake GitHub, or why the newest delivery started nothing.
func awaited(ts *testscript.TestScript, args []string) ([]byte, error) {
	switch args[0] {
	case "gh":
		return ghOutput(ts, args[1:]...), nil
	case "reason":
		var list struct{ Deliveries []struct{ Reason string } }
		if !api(ts, "/api/deliveries?limit=5", &list) {
			return nil, fmt.Errorf("the server tells of no delivery")
		}
		for _, d := range list.Deliveries {
			if d.Reason != "the comment holds no command" { // some forges tell us of our own
				return []byte(d.Reason), nil
			}
		}
		return nil, fmt.Errorf("the server tells of no delivery")
	}
	return nil, fmt.Errorf("await knows no %s", args[0])
}

func serverSaid(ts *testscript.TestScript) string {
	if s := stageOf(ts); s.server != nil {
		return s.server.output.String()
	}
	return ""
}

// metricsOf is what the server says of itself, empty if it does not answer.
func metricsOf(ts *testscript.TestScript) string {
	answer, err := http.Get(ts.Getenv("URL") + "/metrics")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

// checksScript prints the newest check of each name, and waits until all are completed and the server has nothing left to
// tell: checks of phases follow one another as the budget of requests allows.
func checksScript(ts *testscript.TestScript, neg bool, args []string) {
	repo, sha := "octo/hello", args[0]
	if len(args) > 1 {
		repo = args[1]
	}
	var runs []struct {
		ID         int64
		Name       string
		Status     string
		Conclusion string
		Output     struct{ Title string }
		Title      string
	}
	var before string
	stable := 0 // looks without a change since all were completed
	for range 600 {
		out := ghOutput(ts, "get", "check-runs", "repo="+repo, "sha="+sha)
		var answer struct {
			Runs json.RawMessage `json:"check_runs"`
		}
		text := out
		if json.Unmarshal(out, &answer) == nil && answer.Runs != nil {
			text = answer.Runs
		}
		ts.Check(json.Unmarshal(text, &runs))
		done := len(runs) > 0
		for _, r := range runs {
			done = done && r.Status == "completed"
		}
		if stable++; !done || before != string(out) {
			stable = 0
		}
		if stable == 60 || stable >= 3 && strings.Contains(metricsOf(ts), "\nbuildsmith_reports_pending 0\n") {
			break
		}
		before = string(out)
		time.Sleep(100 * time.Millisecond)
	}
	var lines []string
	for _, r := range runs {
		title := r.Title + r.Output.Title
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s: %s %s", r.Name, r.Status, r.Conclusion))+" | "+timeless(title))
		ts.Setenv("CHECK", fmt.Sprint(r.ID))
	}
	slices.Sort(lines)
	fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
}

// timeless takes durations out of a text.
func timeless(text string) string {
	before, _, _ := strings.Cut(text, " in 0.")
	for _, word := range []string{" in 1.", " in 2.", " in 3.", " in 4.", " in 5.", " in 6.", " in 7.", " in 8.", " in 9.", " in 1", " in 2"} {
		before, _, _ = strings.Cut(before, word)
	}
	return before
}

func rightScript(ts *testscript.TestScript, neg bool, args []string) {
	if stageOf(ts).fake == nil {
		return // the built-in forge
	}
	out := bytes.TrimSpace(ghOutput(ts, "get", "violations"))
	if s := string(out); s != "null" && s != "[]" && !strings.Contains(s, `"violations": null`) && !strings.Contains(s, `"violations": []`) {
		ts.Fatalf("requests that the forge would not take:\n%s", out)
	}
}
