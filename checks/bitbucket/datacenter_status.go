package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// Limits of a build status. The old address has them, and the new one is held to them too.
const (
	dcMaxText = 255 // characters of name and description
	dcMaxURL  = 450
)

// dcBuild is a build status.
// https://developer.atlassian.com/server/bitbucket/rest/latest/api-group-builds-and-deployments/
type dcBuild struct {
	Key         string `json:"key"`
	State       string `json:"state"`
	URL         string `json:"url"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	// What the old address does not know.
	Parent   string `json:"parent,omitempty"` // what a required build is known by
	Ref      string `json:"ref,omitempty"`
	Duration int64  `json:"duration,omitempty"` // in milliseconds
}

// States of a build status. The old address does not know the last.
const (
	dcSuccessful = "SUCCESSFUL"
	dcFailed     = "FAILED"
	dcInProgress = "INPROGRESS"
	dcCancelled  = "CANCELLED"
)

func dcState(report *checks.Report) string {
	if report.Status != checks.Completed {
		return dcInProgress
	}
	switch report.Conclusion {
	case checks.Success:
		return dcSuccessful
	case checks.Cancelled, checks.Skipped, checks.ActionRequired:
		return dcCancelled
	}
	return dcFailed
}

// dcOldState says the same without the word that the old address does not know. What keeps nobody from merging elsewhere keeps nobody
// here.
func dcOldState(report *checks.Report) string {
	state := dcState(report)
	switch {
	case state != dcCancelled:
		return state
	case report.Conclusion == checks.Skipped:
		return dcSuccessful
	case report.Conclusion == checks.ActionRequired:
		return dcInProgress
	}
	return dcFailed
}

// tellStatus makes a build status at the address that there is since 7.14, and at the old one of servers that are older.
func (d *dataCenter) tellStatus(ctx context.Context, r store.Repo, key string, report *checks.Report) error {
	b := dcBuild{Key: key, Parent: key, State: dcState(report), URL: d.h.pageURL(report), Name: clipUnits(cmp.Or(line(report.Name), key), dcMaxText),
		Description: clipUnits(line(report.Title), dcMaxText)}
	if len(b.URL) > dcMaxURL {
		return fmt.Errorf("%w: the address of the page has more than the %d characters that Bitbucket takes", checks.ErrRefused, dcMaxURL)
	}
	if strings.HasPrefix(report.Ref, "refs/") && store.ValidRef(report.Ref) && len(report.Ref) <= dcMaxText {
		b.Ref = report.Ref
	}
	if report.Status == checks.Completed && !report.Started.IsZero() {
		b.Duration = max(0, report.Completed.Sub(report.Started).Milliseconds())
	}
	if !d.isOld() {
		err := d.ask(ctx, r, dcRequest{method: http.MethodPost, where: inRepo("api", "/commits/"+url.PathEscape(report.Commit)+"/builds"), body: b}, nil)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		// Either the commit is not there, or the address.
		c, ofErr := d.h.of(r)
		if ofErr != nil {
			return ofErr
		}
		if v, versionErr := d.serverVersion(ctx, c); versionErr != nil {
			return versionErr
		} else if !v.before(firstBuilds) {
			return err
		}
	}
	old := dcBuild{Key: b.Key, State: dcOldState(report), URL: b.URL, Name: b.Name, Description: b.Description}
	return d.ask(ctx, r, dcRequest{method: http.MethodPost, where: anywhere("/build-status/latest/commits/" + url.PathEscape(report.Commit)), body: old}, nil)
}

// unfinished asks at the old address, which alone gives all build statuses of a commit. Who may not ask there goes without.
func (d *dataCenter) unfinished(ctx context.Context, r store.Repo, commit string) (found []checks.Unfinished, err error) {
	if !store.ValidHash(commit) {
		return nil, fmt.Errorf("%q is no full hash of a commit", commit)
	}
	type status struct {
		Key, State, Name, URL string
		Added                 int64 `json:"dateAdded"`
	}
	q := dcRequest{where: anywhere("/build-status/latest/commits/" + commit), quiet: true}
	err = walk(ctx, d, r, q, dcFewThings, func(s status) bool {
		if id := d.h.buildOf(s.URL); id != "" && s.State == dcInProgress && s.Key != "" {
			found = append(found, checks.Unfinished{Remote: s.Key, Name: s.Name, ExternalID: id, Started: time.UnixMilli(s.Added)})
		}
		return true
	})
	if denied(err) {
		return nil, nil
	}
	return found, err
}

// A version is that of a Data Center, such as 8.19.
type version struct{ major, minor int }

var (
	firstBuilds = version{7, 14} // has the address of build statuses that are a repository's
	firstTried  = version{7, 21} // is the oldest that this program was written for
)

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) before(other version) bool {
	return v.major < other.major || v.major == other.major && v.minor < other.minor
}

func parseVersion(text string) (version, error) {
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	var v version
	var err, minorErr error
	v.major, err = strconv.Atoi(major)
	v.minor, minorErr = strconv.Atoi(minor)
	if err != nil || minorErr != nil {
		return version{}, fmt.Errorf("Bitbucket says that its version is %q, which is none", clip(checks.Plain(text), 40))
	}
	return v, nil
}

const (
	propertiesPath = "/api/latest/application-properties"
	// versionAge is how long the server's version is believed: somebody may bring it up to date.
	versionAge = time.Hour
)

// isOld reports whether the server is known to be older than the address of build statuses.
func (d *dataCenter) isOld() bool {
	v, known := d.knownVersion()
	return known && v.before(firstBuilds)
}

func (d *dataCenter) knownVersion() (v version, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := d.h.Now().Sub(d.asked)
	return d.version, !d.asked.IsZero() && age >= 0 && age < versionAge
}

// serverVersion gives the version of the server.
func (d *dataCenter) serverVersion(ctx context.Context, c *credential) (version, error) {
	if v, known := d.knownVersion(); known {
		return v, nil
	}
	v, _, err := d.properties(ctx, c)
	return v, err
}

// properties asks for the version of the server, and for the user that a credential is, whose name and id every answer has in its
// header; both are empty if they are not told.
func (d *dataCenter) properties(ctx context.Context, c *credential) (version, store.Account, error) {
	var said struct{ Version string }
	a, err := d.h.send(ctx, c, request{method: http.MethodGet, path: propertiesPath}, &said)
	if err != nil {
		return version{}, store.Account{}, err
	}
	v, err := parseVersion(said.Version)
	if err != nil {
		return version{}, store.Account{}, err
	}
	d.mu.Lock()
	d.version, d.asked = v, d.h.Now()
	d.mu.Unlock()
	who := store.Account{Login: a.header.Get("X-AUSERNAME")}
	if plain, err := url.PathUnescape(who.Login); err == nil {
		who.Login = plain
	}
	if n, err := strconv.ParseInt(a.header.Get("X-AUSERID"), 10, 64); err == nil && n > 0 {
		who.ID = strconv.FormatInt(n, 10)
	}
	return v, who, nil
}
