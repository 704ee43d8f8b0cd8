package main

import (
	"context"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/web"
	"buildsmith/store"
	"buildsmith/webhook"
)

// A member is a forge that is told of builds and sends deliveries: each but the built-in one.
type member interface {
	origin
	name() string // in the store
	source() webhook.Source
	publisher() checks.Publisher
	plain() bool // it is reached by http, without encryption
	// refresh asks the forge how what it is reached by stands, and mends what can be mended.
	refresh(ctx context.Context, s *server) error
	page(s *server) web.Forge // how it stands, by what is known
	links(r store.Repo) web.Links
	traffic() traffic
}

// traffic counts requests to a forge, as metrics tell of it.
type traffic struct {
	Requests, Failures, Writes, Unchanged, HeldBack int64
	Limited                                         map[int64]time.Time // by installation
	Remaining                                       map[int64]int
}

// members are the forges that there are now.
func (s *server) members() []member {
	var list []member
	if h := s.hubNow(); h != nil {
		list = append(list, h)
	}
	for _, b := range s.buckets {
		list = append(list, b)
	}
	return list
}

// member is the forge of a name; nil if there is none.
func (s *server) member(name string) member {
	for _, m := range s.members() {
		if m.name() == name {
			return m
		}
	}
	return nil
}

// refused records what a forge refused to what it is reached by.
func (s *server) refused(forge, host string, installation int64, text string) {
	if err := s.store.Update(func(tx *store.Tx) error {
		return tx.ChangeInstallation(forge, host, installation, func(i *store.Installation) { i.LastError, i.LastErrorAt = text, s.store.Now() })
	}); err != nil {
		s.log.Error("recording what a forge refused", "forge", forge, "installation", installation, "err", err)
	}
}

// refreshEvery is how often a forge is asked how it stands.
const refreshEvery = 10 * time.Minute

// watchHub keeps what is known of GitHub fresh until ctx is done: it may be set up meanwhile.
func (s *server) watchHub(ctx context.Context) error {
	return s.watch(ctx, func() {
		h := s.hubNow()
		if h == nil {
			return
		}
		if err := h.refresh(ctx, s); err != nil && ctx.Err() == nil {
			s.log.Warn("asking GitHub how the App stands", "err", err)
		}
		if err := s.forgetSecrets(); err != nil {
			s.log.Warn("forgetting former secrets of the webhook", "err", err)
		}
	})
}

// watchMember keeps what is known of a forge fresh until ctx is done.
func (s *server) watchMember(ctx context.Context, m member) error {
	return s.watch(ctx, func() {
		if err := m.refresh(ctx, s); err != nil && ctx.Err() == nil {
			s.log.Warn("asking a forge how it stands", "forge", m.name(), "err", err)
		}
	})
}

func (s *server) watch(ctx context.Context, look func()) error {
	for {
		look()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refreshEvery):
		}
	}
}

// resync reads all anew at the forges, looks for deliveries that were missed, and tells forges what they do not know.
func (s *server) resync(ctx context.Context) {
	for _, b := range s.buckets {
		b.host.AskAnew()
	}
	for _, m := range s.members() {
		if err := m.refresh(ctx, s); err != nil {
			s.log.Warn("asking a forge how it stands", "forge", m.name(), "err", err)
		}
		if swept := s.intake.SweepNow(ctx, m.name()); swept.Err != nil {
			s.log.Warn("looking for deliveries that were missed", "forge", m.name(), "err", swept.Err)
		}
	}
	if err := s.reporter.Again(); err != nil {
		s.log.Error("looking for what forges do not know", "err", err)
	}
}

// forges is how the forges stand, as pages show it.
func (s *server) forges() []web.Forge {
	var list []web.Forge
	for _, m := range s.members() {
		list = append(list, m.page(s))
	}
	return list
}

// links is where a forge shows what a repository has.
func (s *server) links(r store.Repo) web.Links {
	if m := s.member(r.Forge); m != nil {
		return m.links(r)
	}
	return web.Links{}
}

// swept is what came of the last look for deliveries of a forge, or of one within a day that found some.
func (s *server) swept(forge, deliveries string) web.Sweep {
	last, missed := s.intake.Swept(forge)
	if deliveries == byWebhook && last.Err == nil && last.Missed == 0 && missed.Missed > 0 && time.Since(missed.At) < 24*time.Hour {
		last = missed
	}
	w := web.Sweep{At: last.At, Missed: last.Missed, Asked: last.Asked, Fetched: last.Fetched, Gone: last.Gone, Left: last.Left}
	if last.Err != nil {
		w.Error = last.Err.Error()
	}
	return w
}

// reached is what the store knows of a forge's webhook, and of what the forge is reached by.
func (s *server) reached(forge, host string, shown func(store.Installation) web.Installation) (hook store.HookState, list []web.Installation) {
	if err := s.store.View(func(tx *store.Tx) (err error) {
		if hook, err = tx.Hook(forge, host); err != nil {
			return err
		}
		all, err := tx.Installations()
		for _, i := range all {
			if i.Forge == forge && i.Host == host {
				list = append(list, shown(i))
			}
		}
		return err
	}); err != nil {
		s.log.Error("reading installations", "forge", forge, "err", err)
	}
	return hook, list
}

func reachedBy(i store.Installation, left map[int64]int) web.Installation {
	w := web.Installation{ID: i.ID, Account: i.Account, Selection: i.Selection, Suspended: i.Suspended, Removed: i.Removed,
		LastDelivery: i.LastDelivery, LastError: i.LastError, LastErrorAt: i.LastErrorAt, Updated: i.Updated}
	if n, ok := left[i.ID]; ok {
		w.Remaining = &n
	}
	return w
}

// keepInstallations records all installations that a forge has, and those that are no longer among them.
func keepInstallations(tx *store.Tx, forge, host string, list []store.Installation) error {
	there := map[int64]bool{}
	for _, i := range list {
		there[i.ID] = true
		if err := keepInstallation(tx, i); err != nil {
			return err
		}
	}
	all, err := tx.Installations()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Forge != forge || i.Host != host || i.Removed || there[i.ID] {
			continue
		}
		if err := tx.ChangeInstallation(i.Forge, i.Host, i.ID, func(i *store.Installation) { i.Removed = true }); err != nil {
			return err
		}
	}
	return nil
}

// keepInstallation records what the forge tells of an installation, and keeps what we know of it beside that.
func keepInstallation(tx *store.Tx, now store.Installation) error {
	return tx.ChangeInstallation(now.Forge, now.Host, now.ID, func(i *store.Installation) {
		now.LastDelivery, now.LastError, now.LastErrorAt = i.LastDelivery, i.LastError, i.LastErrorAt
		*i = now
	})
}
