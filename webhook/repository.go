package webhook

import (
	"fmt"

	"buildsmith/store"
)

// repoChanged takes note of what happened to a repository. Its name and whether it is private are noted with every event.
func (i *Intake) repoChanged(p *pending) decision {
	e := &p.event
	return func(tx *store.Tx) (verdict, error) {
		over := ""
		if err := tx.ChangeRepo(e.Repo.Key(), func(s *store.RepoState) {
			switch e.Change {
			case RepoArchived:
				s.Archived, over = true, "it was archived"
			case RepoUnarchived:
				s.Archived, s.Gone = false, false
			case RepoDeleted:
				s.Gone, over = true, "it was deleted"
			default:
				s.Gone = false
			}
		}); err != nil {
			return verdict{}, err
		}
		if over == "" {
			return verdict{reason: fmt.Sprintf("the repository was %s; it is known as %s now", e.Change, e.Repo.Name)}, nil
		}
		n, err := stopEvery(tx, "the end of its repository: "+over, func(b *store.Build) bool { return b.Repo.Key() == e.Repo.Key() })
		return verdict{reason: fmt.Sprintf("%s: %s; builds stopped: %d", e.Repo.Name, over, n)}, err
	}
}

// installationChanged takes note of what happened to an installation of the App.
func (i *Intake) installationChanged(p *pending) decision {
	e := &p.event
	return func(tx *store.Tx) (verdict, error) {
		now := i.Store.Now()
		if err := tx.ChangeInstallation(e.Installation.Forge, e.Installation.Host, e.Installation.ID, func(s *store.Installation) {
			if e.Installation.Account != "" {
				s.Account = e.Installation.Account
			}
			if e.Change != InstallationRenamed { // which tells of the account alone
				s.Selection, s.Granted, s.Events = e.Installation.Selection, e.Installation.Granted, e.Installation.Events
			}
			switch e.Change {
			case InstallationDeleted:
				s.Removed = true
			case InstallationSuspended:
				s.Suspended = true
			case InstallationUnsuspended:
				s.Suspended = false
			default:
				s.Removed = false
			}
			s.Updated = now
		}); err != nil {
			return verdict{}, err
		}
		gone := map[string]bool{}
		for _, r := range e.Added {
			if err := tx.ChangeRepo(r.Key(), func(s *store.RepoState) { s.Gone = false }); err != nil {
				return verdict{}, err
			}
		}
		for _, r := range e.Removed {
			gone[r.Key()] = true
			if err := tx.ChangeRepo(r.Key(), func(s *store.RepoState) { s.Gone = true }); err != nil {
				return verdict{}, err
			}
		}
		n, err := stopEvery(tx, "the App's removal from its repository", func(b *store.Build) bool {
			return gone[b.Repo.Key()] || e.Change == InstallationDeleted && b.Repo.Forge == e.Installation.Forge && b.Repo.Host == e.Installation.Host && b.Repo.Installation == e.Installation.ID
		})
		return verdict{reason: fmt.Sprintf("the installation in %s: %s; builds stopped: %d", e.Installation.Account, e.Change, n)}, err
	}
}
