package bitbucket

import (
	"context"
	"errors"
	"net/url"

	"buildsmith/store"
)

// dcMaxRefs is how many branches, and how many tags, a look at a repository reads.
const dcMaxRefs = 20 * dcManyThings

// look reads the branches and tags that changed last first. There may be none yet.
func (d *dataCenter) look(ctx context.Context, r store.Repo) (store.Standing, error) {
	s := store.Standing{Refs: map[string]string{}}
	for _, kind := range []string{"/branches", "/tags"} {
		n := 0
		q := dcRequest{where: inRepo("api", kind), query: url.Values{"orderBy": {"MODIFICATION"}}}
		err := walk(ctx, d, r, q, dcManyThings, func(ref dcRef) bool {
			if n == dcMaxRefs {
				s.Part = true
				return false
			}
			n++
			if store.ValidRef(ref.ID) && store.ValidHash(ref.LatestCommit) {
				s.Refs[ref.ID] = ref.LatestCommit
			}
			return true
		})
		if errors.Is(err, errPages) {
			s.Part, err = true, nil
		}
		if err != nil {
			return store.Standing{}, err
		}
	}
	q := dcRequest{where: inRepo("api", "/pull-requests"), query: url.Values{"state": {"OPEN"}, "order": {"NEWEST"}}}
	err := walk(ctx, d, r, q, dcFewThings, func(p dcPull) bool {
		if p.ID > 0 && p.ToRef.Repository.id() == r.ID {
			s.Pulls = append(s.Pulls, p.pull())
		}
		return true
	})
	if errors.Is(err, errPages) {
		s.Part, err = true, nil
	}
	return s, err
}
