package checks

import (
	"encoding/json"
	"slices"
	"time"

	"buildsmith/store"
)

// A letter is a report that a forge does not have as it is.
type letter struct {
	subject store.Subject
	id      string     // below which it is recorded what was told: the subject's, or that of a pull request
	repo    store.Repo // as it is called now
	report  Report
	told    store.Told
	rank    int // lower goes first
	order   time.Time
	orphan  bool // it is about a check of no build: see findOrphans
	late    bool // a later build or notice has the check already: this one may be there, but is not to be made
}

// Ranks: the end of a build first, for which people and branch protection wait; then what else is final, then what people
// have asked for, then what is not there at all, then what has changed.
const (
	rankEnd = iota
	rankFinal
	rankReply
	rankNew
	rankChange
)

// cost is how many requests that change something a letter is, at a forge that takes so many annotations in one.
func (l *letter) cost(annotations int) int {
	n := 1 + (max(1, len(l.report.Annotations))-1)/max(1, annotations)
	if l.report.Kind == KindDeployment && l.told.Remote == "" {
		n++
	}
	return n
}

// pause is how long a letter has to wait: what runs is not told of too often, what failed is tried again after a while.
func (l *letter) pause(now time.Time) time.Duration {
	pause := remaining(l.told.Next, now, longestPause)
	if same := l.told.Remote != "" && l.told.Status == l.report.Status; l.report.Status != Completed && (same || l.told.Refused != "") {
		pause = max(pause, remaining(l.told.At.Add(updateEvery), now, updateEvery))
	}
	return pause
}

// A settlement is a record of something that is not told any more.
type settlement struct {
	id, key string
	told    store.Told
}

// A dossier is a subject with what must be known to tell of it.
type dossier struct {
	store.Subject
	repo   store.Repo // as it is called now: it may have been renamed or moved since
	gone   string     // why its forge can be told nothing; empty if it can
	told   map[string]store.Told
	after  []store.Subject // the other builds and notices of the same check and commit that came later
	ahead  map[string]bool // the checks that a later one has at the forge already, or is about to
	coming []string        // the contexts of statuses that a later one may be about to have
	past   []former        // of the last build of a check that has ended, at a forge where checks are known by name: those before it
	pulls  []pull
}

// letters gives the reports that differ from what forges were told and may be told now, what is settled without telling, and
// the subjects of which there is nothing more to tell.
func (r *Reporter) letters() (letters []letter, settled []settlement, silent []store.Subject, wait time.Duration, err error) {
	wait = time.Hour
	now := r.Store.Now()
	var files []dossier
	if err := r.Store.View(func(tx *store.Tx) (err error) {
		subjects, err := tx.Unsaid()
		if err != nil {
			return err
		}
		look := &reading{tx: tx, commits: map[string]history{}, told: map[string]map[string]store.Told{}, unsaid: map[string]bool{}}
		for _, s := range subjects {
			look.unsaid[s.ID()] = true
		}
		for _, s := range subjects {
			if r.Publishers[repoOf(s).Forge] == nil {
				continue // until a server is configured for that forge again
			}
			file, err := r.open(look, s)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		return nil
	}); err != nil {
		return nil, nil, nil, wait, err
	}
	// Rendered outside of the transaction, since links are made by another one.
	written := map[string]bool{}
	for i := range files {
		file := &files[i]
		mine, done, left := r.write(file, now)
		settled = append(settled, done...)
		for _, l := range mine {
			if pause := l.pause(now); pause > 0 {
				wait = min(wait, pause)
				continue
			}
			// Builds of one pull request have its comment in common.
			if key := l.id + "\x00" + l.report.Key(); !written[key] {
				written[key] = true
				letters = append(letters, l)
			}
		}
		if !left { // whatever changes it makes it unsaid again
			silent = append(silent, file.Subject)
		}
	}
	return letters, settled, silent, wait, nil
}

// A history is what there is of a commit.
type history struct {
	builds  []store.Build
	notices []store.Notice
}

// A reading is one look at the store. What several subjects have in common is read once.
type reading struct {
	tx      *store.Tx
	commits map[string]history               // by repository and commit
	told    map[string]map[string]store.Told // by subject
	unsaid  map[string]bool                  // the subjects of which there may be something to tell
}

func (d *reading) commit(r store.Repo, commit string) (history, error) {
	key := r.Key() + "\x00" + commit
	h, read := d.commits[key]
	if read {
		return h, nil
	}
	var err error
	h.builds, h.notices, err = d.tx.OfCommit(r, commit)
	d.commits[key] = h
	return h, err
}

func (d *reading) toldOf(id string) (map[string]store.Told, error) {
	all, read := d.told[id]
	if read {
		return all, nil
	}
	all, err := d.tx.AllTold(id)
	d.told[id] = all
	return all, err
}

// open reads what must be known of a subject.
func (r *Reporter) open(look *reading, s store.Subject) (file dossier, err error) {
	tx := look.tx
	file = dossier{Subject: s, repo: repoOf(s)}
	state, err := tx.RepoState(file.repo.Key())
	if err != nil {
		return file, err
	}
	if now := state.Repo; now.ID != "" {
		if now.Installation == 0 {
			now.Installation = file.repo.Installation
		}
		file.repo = now
	}
	publisher := r.Publishers[file.repo.Forge]
	byName := publisher.Habits().ByName
	installation, _, err := tx.Installation(file.repo.Forge, file.repo.Host, file.repo.Installation)
	if err != nil {
		return file, err
	}
	switch {
	case state.Gone:
		file.gone = "the repository was deleted, or may not be seen from here any longer"
	case installation.Removed:
		file.gone = "what it was reached by is gone: the App was uninstalled, or the credential is not configured any longer"
	}
	if file.told, err = look.toldOf(s.ID()); err != nil || s.Reply != nil {
		return file, err
	}
	incomplete := r.incomplete(&file)
	if r.Options.Statuses == StatusesOff && !r.Options.SummaryComment && !incomplete && !byName && len(unended(file.told)) == 0 {
		return file, nil
	}
	of, err := look.commit(file.repo, triggerOf(s).Commit)
	if err != nil {
		return file, err
	}
	file.after = later(s, of.builds, of.notices)
	for _, other := range file.after {
		all, err := look.toldOf(other.ID())
		if err != nil {
			return file, err
		}
		file.ahead = ahead(file.ahead, all)
		if r.Options.Statuses != StatusesOff && look.unsaid[other.ID()] {
			file.coming = append(file.coming, contextOf(other, r.Options))
		}
	}
	if byName && s.Build != nil && s.Build.Done() && !slices.ContainsFunc(file.after, isBuild) {
		if file.past, err = look.before(s.Build, of.builds); err != nil {
			return file, err
		}
	}
	if r.Options.SummaryComment {
		file.pulls, err = pullsOf(tx, file.repo, triggerOf(s).Commit, of.builds, of.notices)
	}
	return file, err
}

func repoOf(s store.Subject) store.Repo {
	switch {
	case s.Notice != nil:
		return s.Notice.Repo
	case s.Reply != nil:
		return s.Reply.Repo
	}
	return s.Build.Repo
}

func triggerOf(s store.Subject) store.Trigger {
	if s.Notice != nil {
		return s.Notice.Trigger
	}
	return s.Build.Trigger
}

// incomplete reports whether a check of a subject is not known to be at the forge.
func (r *Reporter) incomplete(file *dossier) bool {
	open := func(check string) bool {
		told := file.told[checkName(check)]
		return told.Remote == "" && !told.GivenUp
	}
	if file.Notice != nil {
		return open(file.Notice.Check)
	}
	b := file.Build
	return open(b.Check) || r.Options.Phases && slices.ContainsFunc(b.Skeleton, func(phase string) bool { return open(b.Check + " / " + phaseWord(phase)) })
}

// write gives the letters of a subject, and what is settled without one. There is something left to tell if there are letters, or
// if it has to wait for the repository.
func (r *Reporter) write(file *dossier, now time.Time) (letters []letter, settled []settlement, left bool) {
	publisher := r.Publishers[file.repo.Forge]
	single := r.account(publisher, file.repo).single(now)
	byName := publisher.Habits().ByName
	instead := r.Options.Statuses == StatusesInstead && publisher.Has(KindStatus)
	add := func(id string, report Report, told store.Told) {
		digest := report.Digest()
		if told.GivenUp || told.Digest == digest || told.Refused == digest {
			return
		}
		if file.gone != "" {
			// What is not final yet waits: the repository may come back before it is.
			if report.Status == Completed {
				told.GivenUp, told.Problem = true, file.gone
				settled = append(settled, settlement{id, report.Key(), told})
			}
			left = left || report.Status != Completed
			return
		}
		l := letter{subject: file.Subject, id: id, repo: file.repo, report: report, told: told, rank: rankChange, order: report.Started}
		l.late = report.Kind == KindCheck && told.Remote == "" && file.ahead[report.Key()]
		l.setRank(instead)
		letters, left = append(letters, l), true
	}
	mine := map[string]bool{} // what this one has at the forge, or will have, or one that came later
	for _, report := range r.render(file) {
		told := file.told[report.Key()]
		// What has been begun is brought to its end, whatever the settings are now.
		begun := told.Remote != "" || told.Creating
		switch {
		case !publisher.Has(report.Kind):
			continue
		case taken(file, &report, byName, instead):
			mine[report.Key()] = true
			// The settings may be others before the later one has told it.
			left = left || report.Kind == KindStatus && begun && told.Status != Completed && !told.GivenUp && !file.ahead[report.Key()]
			continue
		case report.Kind == KindCheck && instead && !begun:
			continue
		case report.Phase && !begun && !r.Options.Phases:
			continue
		case report.Kind == KindCheck && !begun && file.ahead[report.Key()]:
			if !told.GivenUp {
				told.GivenUp, told.Problem = true, overtaken
				settled = append(settled, settlement{file.ID(), report.Key(), told})
			}
			continue
		case report.Phase && !begun && single && !told.GivenUp:
			told.GivenUp, told.Problem = true, "too many requests in an hour: builds have one check each for now"
			settled = append(settled, settlement{file.ID(), report.Key(), told})
			continue
		}
		mine[report.Key()] = told.Remote != "" || !told.GivenUp
		add(file.ID(), report, told)
	}
	for n := range file.past {
		for _, report := range file.past[n].retired(file, mine, r.Options) {
			add(file.past[n].build.ID, report, file.past[n].told[report.Key()])
		}
	}
	if publisher.Has(KindComment) {
		for i := range file.pulls {
			p := &file.pulls[i]
			if report := RenderSummary(p.number, p.commit, p.builds, p.notices, r.Options); p.newest(&report) {
				add(p.id, report, p.told)
			}
		}
	}
	return letters, settled, left
}

// overtaken is why a check is not made.
const overtaken = "a later build or notice has this check already"

// setRank says what goes first. Statuses that stand instead of checks are what people wait for.
func (l *letter) setRank(instead bool) {
	own := l.report.Kind == KindCheck && !l.report.Phase || l.report.Kind == KindStatus && instead
	waiting := l.report.Kind == KindComment || l.report.Conclusion == ActionRequired
	switch {
	case l.report.Status == Completed && own && l.subject.Build != nil:
		l.rank, l.order = rankEnd, l.report.Completed
	case waiting:
		l.rank = rankReply
	case l.report.Status == Completed:
		l.rank, l.order = rankFinal, l.report.Completed
	case l.told.Remote == "":
		l.rank = rankNew
	}
}

func (r *Reporter) render(file *dossier) []Report {
	switch {
	case file.Reply != nil:
		return []Report{RenderReply(file.Reply)}
	case file.Notice != nil:
		reports := []Report{RenderNotice(file.Notice, r.Options)}
		if r.Options.Statuses != StatusesOff {
			reports = append(reports, noticeStatus(file.Notice, r.Options))
		}
		return append(reports, formerStatuses(file.told, reports, noticeStatus(file.Notice, r.Options))...)
	}
	o := r.Options
	o.Figures = r.Publishers[file.repo.Forge].Has(KindReport)
	o.Phases = true // write leaves out those that are not wanted
	reports := Render(file.Build, o)
	return append(reports, formerStatuses(file.told, reports, buildStatus(file.Build, o))...)
}

// ToldReports gives the checks of a build or notice as its forge was last told them.
func ToldReports(s *store.Store, id string) ([]Report, error) {
	var list []Report
	err := s.View(func(tx *store.Tx) error {
		all, err := tx.AllTold(id)
		if err != nil {
			return err
		}
		for _, t := range all {
			var report Report
			if len(t.Report) > 0 && json.Unmarshal(t.Report, &report) == nil && report.Kind == KindCheck {
				list = append(list, report)
			}
		}
		return nil
	})
	// The build's own first, then its phases in the order in which they run.
	slices.SortFunc(list, func(a, b Report) int {
		return phaseOrder(&a) - phaseOrder(&b)
	})
	return list, err
}

func phaseOrder(r *Report) int {
	for i, phase := range store.CommandPhases {
		if len(r.ExternalID) > len(phase) && r.ExternalID[len(r.ExternalID)-len(phase)-1:] == "/"+phase {
			return i + 1
		}
	}
	return 0
}
