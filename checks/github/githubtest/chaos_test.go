package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (s *shop) chaos(c Chaos) {
	s.t.Helper()
	if err := s.SetChaos(c); err != nil {
		s.t.Fatal(err)
	}
}

// TestChaosRequests checks that a seed gives the same bad day twice, and that what chaos says is what happened.
func TestChaosRequests(t *testing.T) {
	t.Parallel()
	days := make([][]string, 2)
	for n := range days {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := &shop{Server: newHub(t, Options{}), t: t}
			if _, err := s.AddRepo(shopRepo, RepoOptions{}); err != nil {
				t.Fatal(err)
			}
			s.sha = s.commit("main", map[string]string{"x": "1"})
			s.app, s.inst, s.instT = s.clients(s.Installation("octo"))
			if _, err := s.instT.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.chaos(Chaos{Seed: 7, Requests: 2, Path: "/check-runs"})
			client := *s.inst.Client()
			for range 60 {
				r, err := http.NewRequest("POST", s.URL()+"/api/v3/repos/octo/shop/check-runs", strings.NewReader(`{"name": "x", "head_sha": "`+s.sha+`"}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				before := len(s.Mishaps())
				resp, err := client.Do(r)
				what := ""
				if list := s.Mishaps(); len(list) > before {
					what = list[before].What
				}
				got := "cut"
				if err == nil {
					resp.Body.Close()
					got = fmt.Sprint(resp.StatusCode)
				}
				want := map[string]string{"": "201", "cut before": "cut", "answer lost": "cut"}[what]
				if status, _, _ := strings.Cut(what, " "); want == "" {
					want = status
				}
				if got != want {
					t.Errorf("%q: %s, want %s", what, got, want)
				}
				days[n] = append(days[n], what)
			}
			made := 0
			for _, what := range days[n] {
				if what == "" || what == "answer lost" {
					made++
				}
			}
			if runs := s.CheckRuns(shopRepo, s.sha); len(runs) != made {
				t.Errorf("%d check runs were made, want %d", len(runs), made)
			}
			for _, m := range s.Mishaps() {
				if m.On != "POST /repos/octo/shop/check-runs" {
					t.Errorf("%+v", m)
				}
			}
			s.chaos(Chaos{})
			if got, _ := s.do(s.inst.Client(), "GET", "/repos/octo/shop", ""); got != 200 || len(s.Mishaps()) == 0 {
				t.Errorf("after the bad day: %d, %d mishaps", got, len(s.Mishaps()))
			}
		})
	}
	if diff := cmp.Diff(days[0], days[1]); diff != "" {
		t.Errorf("two days of one seed: %s", diff)
	}
	for _, m := range requestMishaps {
		if !slices.Contains(days[0], m.What) {
			t.Errorf("%q did not happen", m.What)
		}
	}
}

func TestChaosDeliveries(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	send := func(text string) Delivery {
		t.Helper()
		return must[Delivery](t)(s.Deliver("push", []byte(`{"ref": "`+text+`"}`), DeliverOptions{}))
	}
	// got takes what has come to the bot.
	got := func() (list []string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for n := range b.got {
			list = append(list, at(jsonOf(b.body[n]), "ref").(string))
		}
		b.got, b.body = nil, nil
		return list
	}

	s.chaos(Chaos{Drop: 1})
	dropped := send("a")
	if dropped.Succeeded() || dropped.Status != "failed to connect to host" || b.count() != 0 {
		t.Errorf("a dropped delivery: %+v", dropped)
	}
	s.chaos(Chaos{})
	if n := s.RedeliverFailed(); n != 1 {
		t.Errorf("%d were delivered again", n)
	}
	if list := s.Deliveries(); list[1].GUID != dropped.GUID || !list[1].Redelivery || !list[1].Succeeded() {
		t.Errorf("delivered again: %+v", list[1])
	}
	if n := s.RedeliverFailed(); n != 0 || !slices.Equal(got(), []string{"a"}) {
		t.Errorf("%d were delivered a third time", n)
	}

	s.chaos(Chaos{Repeat: 1})
	twice := send("b")
	if list := s.Deliveries(); list[len(list)-1].GUID != twice.GUID || list[len(list)-2].GUID != twice.GUID || !slices.Equal(got(), []string{"b", "b"}) {
		t.Errorf("twice: %+v", list)
	}

	s.chaos(Chaos{Reorder: 1, Hold: time.Minute})
	held := send("c")
	if held.Status != "held back" || held.StatusCode != 0 || b.count() != 0 {
		t.Errorf("a delivery that is held: %+v", held)
	}
	send("d")
	if err := s.Await(soon(t), func() bool { return b.count() == 2 }); err != nil || !slices.Equal(got(), []string{"d", "c"}) {
		t.Errorf("in another order: %v", err)
	}
	s.chaos(Chaos{Reorder: 1, Hold: 10 * time.Millisecond})
	send("e") // and no other
	if err := s.Await(soon(t), func() bool { return b.count() == 1 }); err != nil {
		t.Errorf("the last one: %v", err)
	}
	s.chaos(Chaos{Reorder: 1, Hold: time.Minute})
	send("f")
	s.chaos(Chaos{}) // lets it go
	if err := s.Await(soon(t), func() bool { return b.count() == 2 }); err != nil || !slices.Equal(got(), []string{"e", "f"}) {
		t.Errorf("when the bad day ends: %v", err)
	}

	s.chaos(Chaos{Delay: 1, Most: time.Hour})
	late := make(chan Delivery)
	go func() { late <- must[Delivery](t)(s.Deliver("ping", []byte(`{}`), DeliverOptions{})) }()
	select {
	case d := <-late:
		t.Errorf("it was not late: %+v", d)
	case <-time.After(50 * time.Millisecond):
	}
	s.cancel() // of the server, which is closed
	<-late

	var what []string
	for _, m := range s.Mishaps() {
		word, _, _ := strings.Cut(m.What, " by ")
		what = append(what, word)
	}
	want := []string{"dropped", "repeated", "held back until the next", "held back until the next", "held back until the next", "delayed"}
	if diff := cmp.Diff(want, what); diff != "" {
		t.Errorf("the mishaps: %s", diff)
	}
	for _, c := range []Chaos{{Drop: -1}, {Path: "("}} {
		if err := s.SetChaos(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}
