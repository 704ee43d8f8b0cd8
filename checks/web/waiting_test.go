package web

import (
	"testing"

	"buildsmith/store"
)

func TestWaitsFor(t *testing.T) {
	for _, tt := range []struct {
		waiting  store.Waiting
		obstacle string
		running  int
		want     string
	}{
		{want: "a free slot: 0 builds run now"},
		{running: 1, want: "a free slot: 1 build runs now"},
		{running: 2, want: "a free slot: 2 builds run now"},
		{waiting: store.Waiting{Limit: 1}, running: 2, want: "a build of its project that runs: one may run at a time"},
		{waiting: store.Waiting{Limit: 3}, want: "a build of its project that runs: 3 may run at a time"},
		{waiting: store.Waiting{Limit: 3}, obstacle: "the disk is full", want: "the disk is full"},
		{waiting: store.Waiting{Suspended: true, Account: "octo"}, obstacle: "the disk is full", want: "octo to end the suspension of the GitHub App"},
		{waiting: store.Waiting{Suspended: true}, want: "the end of the suspension of the GitHub App"},
	} {
		if got := waitsFor(&tt.waiting, tt.obstacle, tt.running); got != tt.want {
			t.Errorf("%+v waits for %q, want %q", tt.waiting, got, tt.want)
		}
	}
}

// TestQueueTellsReasons shows each build in its place with what it alone waits for: on the queue's page, on its own and in the
// API.
func TestQueueTellsReasons(t *testing.T) {
	s := newSite(t)
	limit := func(b *store.Build) { b.Settings.Concurrency = 1 }
	s.submit(privateRepo, limit, claim)
	second := s.submit(privateRepo, limit)
	third := s.submit(publicRepo, func(b *store.Build) { b.Priority = 1 })
	const limited, free = "a build of its project that runs: one may run at a time", "a free slot: 1 build runs now"
	says(t, s.get("/queue"), []string{limited, free})
	says(t, s.get("/builds/"+second.ID), []string{"Waits for " + limited, "It is number 2 in the queue."})
	says(t, s.get("/builds/"+third.ID), []string{"Waits for " + free, "It is number 1 in the queue."})
	var queue Queue
	s.api("GET", "/api/queue", "").decode(t, &queue)
	if len(queue.Queued) != 2 || queue.Queued[0].ID != third.ID || queue.Queued[0].WaitsFor != free || queue.Queued[1].WaitsFor != limited {
		t.Errorf("the queue is %+v", queue)
	}
	var b Build
	if s.api("GET", "/api/builds/"+second.ID, "").decode(t, &b); b.WaitsFor != limited {
		t.Errorf("the API says that it waits for %q", b.WaitsFor)
	}
}
