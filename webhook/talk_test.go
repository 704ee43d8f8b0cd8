package webhook

import (
	"errors"
	"testing"
	"time"

	"buildsmith/store"
)

// TestFoundComments obeys commands that no delivery told of, and those that both told of once.
func TestFoundComments(t *testing.T) {
	d, s := newShowing(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	pr.Updated = d.store.Now()
	says := func(id int64, body string, at time.Time) {
		pr.Updated = at
		s.comments[12] = append(s.comments[12], store.Comment{ID: id, Body: body, Author: alice, Created: at})
		s.at(Standing{Pulls: []store.PullRequest{pr}})
	}
	says(1, "/test", d.store.Now().Add(-time.Second))
	d.look()
	if n := len(d.builds()); n != 0 || len(s.since) != 0 {
		t.Errorf("%d builds of what was there before, comments were read %v", n, s.since)
	}
	d.clock.advance(time.Hour)
	says(2, "/test", d.store.Now())
	says(3, "well done", d.store.Now())
	list := d.found()
	if len(list) != 1 || list[0].Event != "found:comment" || list[0].Summary != "comment on pull request 12, found by looking" || len(list[0].Builds) != 1 {
		t.Fatalf("%+v", list)
	}
	if b := d.builds()[0]; b.AskedBy != "alice" || b.Trigger.Actor != alice || b.Trigger.PullRequest != 12 {
		t.Errorf("%+v", b)
	}
	if list := d.found(); len(list) != 0 || len(s.since[12]) != 1 {
		t.Errorf("%+v, read since %v", list, s.since)
	}
	// Delivered late, and delivered before the look.
	e := comment("/test", alice)
	e.Comment.ID = 2
	if got := d.deliver(e); got.Reason != obeyedBefore || len(d.builds()) != 1 {
		t.Errorf("%+v", got)
	}
	says(4, "/test", d.store.Now())
	e.Comment.ID = 4
	d.deliver(e)
	e.Summary = "under another id, and another body"
	if got := d.deliver(e); got.Reason != obeyedBefore {
		t.Errorf("%+v", got)
	}
	if list := d.found(); len(list) != 0 || len(d.builds()) != 2 {
		t.Errorf("%+v", list)
	}
	// What cannot be read is read later, and holds up nothing else.
	s.mute = errors.New("502")
	says(5, "/test", d.store.Now())
	s.at(Standing{Refs: map[string]string{mainRef: hash('b')}, Pulls: []store.PullRequest{pr}})
	swept := d.look()
	if want := "1 of 1 repositories could not be looked at: looking at octo/shop: reading the comments on pull request 12: 502"; swept.Err == nil || swept.Err.Error() != want || swept.Fetched != 1 {
		t.Errorf("%+v", swept)
	}
	s.mute = nil
	if list := d.found(); len(list) != 1 || list[0].Event != "found:comment" {
		t.Errorf("%+v", list)
	}
	if since := s.since[12]; !since[len(since)-1].Before(since[len(since)-2].Add(time.Minute)) {
		t.Errorf("read since %v", since)
	}
	// Bots' are found once.
	s.comments[12] = append(s.comments[12], store.Comment{ID: 6, Body: "/test", Author: store.Account{ID: "3", Login: "robot", Bot: true}, Created: d.store.Now()})
	for n := range 2 {
		pr.Updated = d.store.Now()
		s.at(Standing{Refs: map[string]string{mainRef: hash('b')}, Pulls: []store.PullRequest{pr}})
		if list := d.found(); len(list) != 1-n {
			t.Errorf("%+v", list)
		}
	}
}

// TestOneTalkCannotBeRead reads the comments on other pull requests all the same.
func TestOneTalkCannotBeRead(t *testing.T) {
	d, s := newShowing(t)
	open := []store.PullRequest{pulled(11, hash('a'), alice, repo.ID), pulled(12, hash('a'), alice, repo.ID)}
	s.at(Standing{Pulls: open})
	d.look()
	s.mute, s.muteOf = errors.New("the answer is too long"), 11
	for n := range open {
		open[n].Updated = d.store.Now().Add(time.Minute)
		s.comments[open[n].Number] = []store.Comment{{ID: int64(n + 1), Body: "/status", Author: alice, Created: d.store.Now().Add(time.Minute)}}
	}
	s.at(Standing{Pulls: open})
	for _, want := range []int{1, 0} {
		if swept := d.look(); swept.Err == nil || swept.Fetched != want {
			t.Errorf("%+v, want %d", swept, want)
		}
	}
	s.mute = nil
	if list := d.found(); len(list) != 1 || list[0].Event != "found:comment" {
		t.Errorf("%+v", list)
	}
}

// TestEditedComment has a comment without a command, which a delivery told of, edited to hold one: that is no new comment.
func TestEditedComment(t *testing.T) {
	d, s := newShowing(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	pr.Updated = d.store.Now()
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	d.look()
	d.clock.advance(time.Hour)
	e := comment("well done", alice)
	e.Comment.ID = 2
	if got := d.deliver(e); got.Reason != "the comment holds no command" {
		t.Errorf("%+v", got)
	}
	pr.Updated = d.store.Now()
	s.comments[12] = []store.Comment{{ID: 2, Body: "/test", Author: alice, Created: d.store.Now()}}
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	if list := d.found(); len(list) != 0 || len(d.builds()) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestManyTalks reads the comments of some pull requests in one look, and those of the others in the next.
func TestManyTalks(t *testing.T) {
	d, s := newShowing(t)
	var open []store.PullRequest
	for n := range maxTalks + 10 {
		open = append(open, pulled(n+1, hash('a'), alice, repo.ID))
	}
	s.at(Standing{Pulls: open})
	d.look()
	for n := range open {
		open[n].Updated = d.store.Now().Add(time.Minute)
		s.comments[n+1] = []store.Comment{{ID: int64(n + 1), Body: "/status", Author: alice, Created: d.store.Now().Add(time.Minute)}}
	}
	s.at(Standing{Pulls: open})
	for _, want := range []int{maxTalks, 10, 0} {
		if swept := d.look(); swept.Err != nil || swept.Fetched != want {
			t.Errorf("%+v, want %d", swept, want)
		}
	}
}
