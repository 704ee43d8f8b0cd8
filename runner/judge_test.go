package runner

import (
	"testing"
	"time"

	"buildsmith/store"
)

// TestJudge names the end of builds whose agent did not tell one.
func TestJudge(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		name   string
		change func(*follower)
		exit   Exit
		want   ending
	}{
		{"killed by the server", func(f *follower) { f.verdict = timedOut() }, Exit{OutOfMemory: true}, *timedOut()},
		{"deadline", func(f *follower) { f.until = time.Unix(1, 0) }, Exit{}, ending{status: store.TimedOut, message: "Build has timed out."}},
		{"memory", nil, Exit{Status: 137, OutOfMemory: true}, ending{status: store.Failed, message: "The build ran out of memory: its limit is 512 MiB."}},
		{"agent", func(f *follower) { f.fault = "panic: on purpose" }, Exit{Status: 1}, ending{status: store.Fault, message: "the agent failed: panic: on purpose"}},
		{"gone", nil, Exit{Gone: true}, ending{status: store.Fault, message: "The build's container is gone: the host was restarted, or somebody removed it."}},
		{"silent", nil, Exit{Status: 1}, ending{status: store.Fault, message: "The build's container ended without a result."}},
		{"detail", nil, Exit{Status: 127, Detail: "exec format error"}, ending{status: store.Fault, message: "The build's container ended without a result. exec format error"}},
	} {
		w := &work{r: &Runner{Config: Config{Store: s}}, b: store.Build{ID: "b", Settings: store.Settings{Memory: 512 << 20}}}
		f := &follower{work: w}
		if tt.change != nil {
			tt.change(f)
		}
		if got := f.judge(tt.exit); got.status != tt.want.status || got.message != tt.want.message {
			t.Errorf("%s: %+v, want %+v", tt.name, *got, tt.want)
		}
	}
}
