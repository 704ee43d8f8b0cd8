package webhook

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"buildsmith/store"
)

// A model is a repository as its forge has it, and what the forge will say of it.
type model struct {
	d        *desk
	r        *rand.Rand
	at       time.Time
	commits  int
	branches map[string]string // heads
	skipped  map[string]bool   // commits whose message says [skip ci]
	own      map[string]bool   // commits that were pushed to the repository itself
	approved map[string]bool   // number and commit
	list     []sent
}

// A sent event, and the pull requests as they were then: the forge knows at least that when it is asked after the delivery.
type sent struct {
	event Event
	order float64
	pulls map[int]store.PullRequest
	n     int
}

// say has the forge send an event. Some come late, and some twice.
func (m *model) say(e Event) {
	m.at = m.at.Add(2 * time.Second)
	e.At = m.at
	if e.Kind == Comment {
		e.Comment.ID, e.Comment.Created = int64(len(m.list)+1), m.d.clock.Now().Add(time.Hour)
	}
	e.Summary = fmt.Sprint("event ", len(m.list))
	for range 1 + m.r.IntN(10)/9 {
		order := float64(len(m.list))
		if m.r.IntN(3) == 0 {
			order += m.r.Float64() * 12
		}
		m.list = append(m.list, sent{e, order, maps.Clone(m.d.forge.pulls), len(m.list)})
	}
}

func (m *model) commit() string {
	m.commits++
	h := fmt.Sprintf("%040x", m.commits)
	message := "x"
	if m.r.IntN(8) == 0 {
		m.skipped[h], message = true, "x [skip ci]"
	}
	m.d.forge.commits[h] = store.Commit{Hash: h, Message: message}
	return h
}

func (m *model) pull(pr store.PullRequest, event string) {
	pr.Updated = m.at.Add(2 * time.Second) // say's
	m.d.forge.pulls[pr.Number] = pr
	e := pullEvent(pr)
	e.Event = event
	m.say(e)
}

// step changes something.
func (m *model) step() {
	number := 1 + m.r.IntN(4) // 1 and 2 are of branches, 3 and 4 of a fork
	pr, there := m.d.forge.pulls[number]
	branch := fmt.Sprint("refs/heads/b", number)
	strange := number > 2
	switch m.r.IntN(9) {
	case 0, 1: // a push
		head := m.commit()
		if !strange {
			e := push(branch, head, m.d.forge.commits[head].Message)
			if before := m.branches[branch]; before != "" {
				e.Push.Before = before
			}
			m.own[head] = true
			m.say(e)
		}
		m.branches[branch] = head
		if there {
			pr.Head = head
			m.d.forge.pulls[number] = pr
			if pr.Open {
				m.pull(pr, store.EventPullRequestUpdated)
			}
		}
	case 2:
		if head := m.branches[branch]; head != "" && !there {
			author, from := alice, repo.ID
			if strange {
				author, from = eve, fork
			}
			pr = pulled(number, head, author, from)
			pr.HeadRef = branch
			m.pull(pr, store.EventPullRequestCreated)
		}
	case 3, 4, 5:
		if there {
			event := store.EventPullRequestClosed
			if pr.Open = !pr.Open; pr.Open {
				event = store.EventPullRequestReopen
			}
			m.pull(pr, event)
		}
	default:
		if there && strange && pr.Open {
			m.approved[fmt.Sprint(number, pr.Head)] = true
			e := comment("/approve "+pr.Head, alice)
			e.Comment.PullRequest = number
			m.say(e)
		}
	}
}

// check compares what became of it with what has to.
func (m *model) check(t *testing.T) {
	for _, b := range m.d.builds() {
		tr := &b.Trigger
		if m.own[tr.Commit] {
			continue
		}
		if !tr.Fork || tr.Approval == nil || tr.Approval.Commit != tr.Commit || !m.approved[fmt.Sprint(tr.PullRequest, tr.Commit)] {
			t.Errorf("a stranger's commit was built: %+v", *tr)
		}
	}
	if err := m.d.store.View(func(tx *store.Tx) error {
		for number, pr := range m.d.forge.pulls {
			if !pr.Open {
				continue
			}
			builds, notices, err := tx.OfCommit(repo, pr.Head)
			if err != nil {
				return err
			}
			var good, newest *store.Build
			for n := range builds {
				if newest = &builds[n]; newest.Stop == nil {
					good = newest
				}
			}
			saying := slices.ContainsFunc(notices, func(n store.Notice) bool {
				return m.skipped[pr.Head] || n.Conclusion == store.ActionRequired && newest == nil
			})
			if good == nil && !saying {
				t.Errorf("the check of pull request %d stands for nothing: %d builds, %d notices", number, len(builds), len(notices))
			}
			if newest != nil && newest.Stop != nil && good != nil {
				t.Errorf("the newest build of pull request %d was stopped by %s", number, newest.Stop.By)
			}
			for _, n := range notices {
				if n.Conclusion == store.SkippedNotice && newest != nil && n.Created.After(newest.Created) {
					t.Errorf("a skip hides build %d of pull request %d", newest.Number, number)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAnyOrder has a repository's events come late, in the wrong order and twice. In the end the check of every open pull request tells
// of its newest commit, and no stranger's commit was built that nobody approved.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := newDesk(t)
			m := &model{d: d, r: rand.New(rand.NewPCG(seed, 7)), at: time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC), branches: map[string]string{},
				skipped: map[string]bool{}, own: map[string]bool{}, approved: map[string]bool{}}
			for range 150 {
				m.step()
			}
			slices.SortStableFunc(m.list, func(a, b sent) int {
				if a.order < b.order {
					return -1
				}
				return 1
			})
			now, last := d.forge.pulls, 0
			for _, s := range m.list {
				if s.n >= last {
					d.forge.pulls, last = s.pulls, s.n
				}
				d.clock.advance(time.Second)
				d.deliver(s.event)
				if builds := d.builds(); len(builds) > 0 && m.r.IntN(6) == 0 {
					if b := builds[m.r.IntN(len(builds))]; !b.Done() && b.Stop == nil {
						d.end(b.ID, store.Failed)
					}
				}
			}
			d.forge.pulls = now
			m.check(t)
		})
	}
}
