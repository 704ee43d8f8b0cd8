package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitTime is how long await waits. A change of a state goes out every ten seconds at most.
const awaitTime = 40 * time.Second

// awaitScript repeats a command until what it prints matches a pattern, and prints that.
func awaitScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await pattern command...")
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

// awaited is what a command of await prints: a thing of the fake GitHub, why the newest delivery started nothing, or a program's.
func awaited(ts *testscript.TestScript, args []string) ([]byte, error) {
	switch args[0] {
	case "gh":
		return ghOutput(ts, args[1:]...), nil
	case "reason":
		var list struct{ Deliveries []struct{ Reason string } }
		if !api(ts, "/api/deliveries?limit=1", &list) || len(list.Deliveries) == 0 {
			return nil, fmt.Errorf("the server tells of no delivery")
		}
		return []byte(list.Deliveries[0].Reason), nil
	}
	path, err := exec.LookPath(args[0])
	if own := strings.Split(ts.Getenv("PATH"), ":")[0] + "/" + args[0]; err != nil {
		path = own
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	return cmd.Output()
}

func serverSaid(ts *testscript.TestScript) string {
	if s := stageOf(ts); s.server != nil {
		return s.server.output.String()
	}
	return ""
}
