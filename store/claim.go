package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A turn is what the order of the queue depends on, kept apart from the build, so that whoever looks at the whole queue does
// not read every build. Its text in the database is the build's id, priority, limit, end, installation and project, with a
// NUL between two.
type turn struct {
	seq          uint64
	id           string
	priority     int
	limit        int    // builds of the project that may run at a time; 0 for any number
	end          int64  // when the build has waited too long, in Unix nanoseconds; 0 for never
	installation string // key of the Installation; empty for none
	project      string // key
}

func turnOf(b *Build) turn {
	t := turn{seq: b.Seq, id: b.ID, priority: b.Priority, limit: b.Settings.Concurrency, project: b.ProjectKey}
	if d := b.Settings.QueueTimeout; d > 0 {
		t.end = b.Created.Add(d).UnixNano()
	}
	if n := b.Repo.Installation; n != 0 {
		t.installation = string(installationKey(b.Repo.Forge, b.Repo.Host, n))
	}
	return t
}

func (t *turn) text() []byte {
	return []byte(strings.Join([]string{t.id, strconv.Itoa(t.priority), strconv.Itoa(t.limit), strconv.FormatInt(t.end, 10),
		strconv.Quote(t.installation), t.project}, "\x00"))
}

// parseTurn reads a turn; ok is false if the text is none.
func parseTurn(seq uint64, text string) (t turn, ok bool) {
	t.seq = seq
	var priority, limit, end, installation string
	for _, field := range []*string{&t.id, &priority, &limit, &end, &installation} {
		if *field, text, ok = strings.Cut(text, "\x00"); !ok {
			return t, false
		}
	}
	t.project = text
	var errs [4]error
	t.priority, errs[0] = strconv.Atoi(priority)
	t.limit, errs[1] = strconv.Atoi(limit)
	t.end, errs[2] = strconv.ParseInt(end, 10, 64)
	t.installation, errs[3] = strconv.Unquote(installation)
	return t, errors.Join(errs[:]...) == nil
}

// setTurn keeps the turn of a build that is in the queue, and removes that of any other.
func (tx *Tx) setTurn(b *Build) error {
	if !b.Queued() {
		return tx.bucket(bucketTurns).Delete(number(b.Seq))
	}
	t := turnOf(b)
	return tx.bucket(bucketTurns).Put(number(b.Seq), t.text())
}

// turns are the queue in the order in which builds leave it: those of a higher priority first, and then the older.
func (tx *Tx) turns() ([]turn, error) {
	queued, _ := tx.QueueLength()
	list := make([]turn, 0, queued)
	c, turns := tx.bucket(bucketQueued).Cursor(), tx.bucket(bucketTurns).Cursor()
	of, text := turns.First()
	for key, id := c.First(); key != nil; key, id = c.Next() {
		for of != nil && bytes.Compare(of, key) < 0 {
			of, text = turns.Next()
		}
		var t turn
		ok := bytes.Equal(of, key)
		if ok {
			t, ok = parseTurn(decodeNumber(key), string(text))
		}
		if !ok { // an older release put it into the queue
			b, err := tx.Build(string(id))
			if err != nil {
				return nil, err
			}
			t = turnOf(&b)
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b turn) int { return cmp.Compare(b.priority, a.priority) })
	return list, nil
}

// A gate tells which builds of the queue may begin, as far as it is not for want of a slot.
type gate struct {
	tx        *Tx
	running   map[string]int // builds by the key of their project; nil until it is needed
	suspended map[string]*Installation
}

// busy is how many builds of a project run.
func (g *gate) busy(project string) (int, error) {
	if g.running == nil {
		g.running = map[string]int{}
		list, err := g.tx.RunningBuilds()
		if err != nil {
			return 0, err
		}
		for i := range list {
			g.running[list[i].ProjectKey]++
		}
	}
	return g.running[project], nil
}

// held says what keeps a build in the queue: the limit of its project, or the installation that is suspended. Neither is set
// if nothing does.
func (g *gate) held(t *turn) (limit int, suspended *Installation, err error) {
	if t.installation != "" {
		i, known := g.suspended[t.installation]
		if !known {
			found, ok, err := get[Installation](g.tx, bucketInstallations, []byte(t.installation))
			if err != nil {
				return 0, nil, err
			}
			if ok && found.Suspended {
				i = &found
			}
			g.suspended[t.installation] = i
		}
		if i != nil {
			return 0, i, nil
		}
	}
	if t.limit > 0 {
		n, err := g.busy(t.project)
		if err != nil || n >= t.limit {
			return t.limit, nil, err
		}
	}
	return 0, nil, nil
}

func (tx *Tx) gate() *gate { return &gate{tx: tx, suspended: map[string]*Installation{}} }

// ready are the ids of the builds that are to leave the queue next, at most max. One that is held lets others pass.
func (tx *Tx) ready(max int) (ids []string, err error) {
	if max <= 0 {
		return nil, nil
	}
	queue, err := tx.turns()
	if err != nil {
		return nil, err
	}
	g := tx.gate()
	for i := range queue {
		if len(ids) == max {
			break
		}
		t := &queue[i]
		limit, suspended, err := g.held(t)
		if err != nil {
			return nil, err
		}
		if limit > 0 || suspended != nil {
			continue
		}
		if ids = append(ids, t.id); g.running != nil {
			g.running[t.project]++
		}
	}
	return ids, nil
}

// A Waiting is a build in the queue, and what keeps it there beside the want of a slot.
type Waiting struct {
	Build     Build
	Position  int    // from 1
	Limit     int    // its project may have no more builds running than the so many that run now; 0 if that is not it
	Suspended bool   // the App's installation is suspended
	Account   string // whose installation that is; may be unknown
}

// Waiting are the builds that wait, in the order in which they leave the queue, at most max.
func (tx *Tx) Waiting(max int) ([]Waiting, error) {
	queue, err := tx.turns()
	if err != nil {
		return nil, err
	}
	var list []Waiting
	g := tx.gate()
	for i := range queue[:min(len(queue), max)] {
		w, err := g.waiting(&queue[i], i+1)
		if err != nil {
			return nil, err
		}
		if w.Build, err = tx.Build(queue[i].id); err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// Awaits is what one build waits for, and its place in the queue; its Position is 0 if it is not there.
func (tx *Tx) Awaits(b *Build) (Waiting, error) {
	queue, err := tx.turns()
	if err != nil {
		return Waiting{}, err
	}
	i := slices.IndexFunc(queue, func(t turn) bool { return t.seq == b.Seq })
	if i < 0 {
		return Waiting{Build: *b}, nil
	}
	w, err := tx.gate().waiting(&queue[i], i+1)
	w.Build = *b
	return w, err
}

func (g *gate) waiting(t *turn, position int) (w Waiting, err error) {
	limit, suspended, err := g.held(t)
	w.Position, w.Limit, w.Suspended = position, limit, suspended != nil
	if suspended != nil {
		w.Account = suspended.Account
	}
	return w, err
}

// A Claim is a build that has got a slot.
type Claim struct {
	Build Build
	Warm  bool // its sandbox had been started already
}

// Claim gives slots to the builds that are to leave the queue next, as far as slots are free: those of the highest priority,
// and then those that have waited longest. Builds of a project that has as many running as it may, and those of an
// installation that is suspended, stay while others pass them. A slot is taken by each build that was claimed and is not
// over. For each build it takes the oldest waiting sandbox whose profile is what profile gives for the build, or a sandbox to
// be started.
func (s *Store) Claim(slots int, profile func(*Build) string) (claims []Claim, err error) {
	// An update that changes nothing would still wake everybody, the caller first.
	idle := false
	if err := s.View(func(tx *Tx) error {
		_, running := tx.QueueLength()
		ids, err := tx.ready(slots - running)
		idle = len(ids) == 0
		return err
	}); err != nil || idle {
		return nil, err
	}
	err = s.Update(func(tx *Tx) error {
		claims = nil
		_, running := tx.QueueLength()
		ids, err := tx.ready(slots - running)
		if err != nil {
			return err
		}
		now := s.Now()
		for _, id := range ids {
			b, err := tx.Build(id)
			if err != nil {
				return err
			}
			sandbox, warm, err := tx.takeSandbox(profile(&b))
			if err != nil {
				return err
			}
			b, err = tx.ChangeBuild(id, func(b *Build) error {
				b.Claimed, b.Sandbox = now, sandbox
				b.Leave(PhaseQueued, now, Succeeded, "", "")
				b.Enter(PhaseProvisioning, now)
				return nil
			})
			if err != nil {
				return err
			}
			claims = append(claims, Claim{b, warm})
		}
		return nil
	})
	if err == nil && len(claims) > 0 {
		s.At("claimed")
	}
	return claims, err
}

// ExpireQueued ends the builds that have waited in the queue for longer than they may. It returns when the next one will
// have, zero if none waits.
func (s *Store) ExpireQueued() (next time.Time, err error) {
	var late []string
	now := s.Now()
	err = s.View(func(tx *Tx) error {
		queue, err := tx.turns()
		for _, t := range queue {
			if t.end == 0 {
				continue
			}
			switch end := time.Unix(0, t.end).UTC(); {
			case !end.After(now):
				late = append(late, t.id)
			case next.IsZero() || end.Before(next):
				next = end
			}
		}
		return err
	})
	for _, id := range late {
		_, changed := s.ChangeBuild(id, func(b *Build) error {
			if b.Queued() {
				b.Leave(PhaseQueued, now, TimedOut, "BUILD_TIMED_OUT",
					fmt.Sprintf("Build has timed out: it waited in the queue for %v, which is its limit.", b.Settings.QueueTimeout))
				b.End(TimedOut, now)
			}
			return nil
		})
		if changed != nil && !errors.Is(changed, ErrDone) {
			err = errors.Join(err, changed)
		}
	}
	return next, err
}
