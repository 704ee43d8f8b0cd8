package bitbucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"buildsmith/checks"
	"buildsmith/store"
)

// maxKey is how many characters the key of a status or report has at most: Cloud's limit.
const maxKey = 40

// key is what a check is known by: those of one name and kind have one, whatever build they are of, and no two others. It ends in a word
// that people can read, a phase's or the beginning of the name.
func key(report *checks.Report) string {
	sum := sha256.Sum256([]byte(string(report.Kind) + "\x00" + report.Name))
	key := "bs-" + hex.EncodeToString(sum[:12])
	name := report.Name
	if _, phase, ok := strings.Cut(name, " / "); ok {
		name = phase
	}
	word := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return -1
	}, name)
	if word = word[:min(len(word), maxKey-len(key)-1)]; word != "" {
		key += "-" + word
	}
	return key
}

// Create implements checks.Publisher. Checks and statuses are both build statuses.
func (h *Host) Create(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	switch report.Kind {
	case checks.KindComment:
		return h.createComment(ctx, r, report)
	case checks.KindReport:
		id := key(report) // which it has even if its annotations were not taken
		return id, refusedToo(h.api.tellReport(ctx, r, id, report))
	case checks.KindCheck, checks.KindStatus:
		id := key(report)
		if err := h.api.tellStatus(ctx, r, id, report); err != nil {
			return "", refused(err)
		}
		return id, nil
	}
	return "", fmt.Errorf("%w: Bitbucket has no place for a %s", checks.ErrRefused, report.Kind)
}

// Update implements checks.Publisher. What has a key is told once more: that of the same key is replaced.
func (h *Host) Update(ctx context.Context, r store.Repo, remote string, report, _ *checks.Report) error {
	switch report.Kind {
	case checks.KindComment:
		return h.updateComment(ctx, r, remote, report)
	case checks.KindReport:
		return refusedToo(h.api.tellReport(ctx, r, remote, report))
	}
	return refused(h.api.tellStatus(ctx, r, remote, report))
}

// Find implements checks.Publisher. What has a key needs not be found: one more of the same takes its place.
func (h *Host) Find(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	if report.Kind == checks.KindComment {
		return h.findComment(ctx, r, report)
	}
	return "", nil
}

// Unfinished implements checks.Lister.
func (h *Host) Unfinished(ctx context.Context, r store.Repo, commit string) ([]checks.Unfinished, error) {
	return h.api.unfinished(ctx, r, commit)
}

// refused marks what Bitbucket will never take: the repository or the commit is gone, or the report breaks a rule.
func refused(err error) error {
	if errors.Is(err, store.ErrNotFound) || statusOf(err) == http.StatusBadRequest {
		return fmt.Errorf("%w: %w", checks.ErrRefused, err)
	}
	return err
}

// refusedToo is refused for what can be done without: what a credential has no right for is refused as well.
func refusedToo(err error) error {
	switch statusOf(err) {
	case http.StatusForbidden, http.StatusConflict:
		if !errors.As(err, new(*checks.WaitError)) {
			return fmt.Errorf("%w: %w", checks.ErrRefused, err)
		}
	}
	return refused(err)
}

// pageURL is the address of the page behind a report. A status must have one, and what nobody knows the page of has that of its build.
func (h *Host) pageURL(report *checks.Report) string {
	address := report.URL
	if address == "" && h.Page != "" {
		id, _, _ := strings.Cut(report.ExternalID, "/")
		address = h.Page + id
	}
	return braces.Replace(address)
}

// braces are what Bitbucket replaces in addresses.
var braces = strings.NewReplacer("{", "%7B", "}", "%7D")

// buildOf gives the id of the build whose page an address is of; empty if it is no page of ours.
func (h *Host) buildOf(address string) string {
	id, ok := strings.CutPrefix(address, h.Page)
	if h.Page == "" || !ok {
		return ""
	}
	if end := strings.IndexAny(id, "/?#"); end >= 0 {
		id = id[:end]
	}
	return id
}
