// Package webhook is intake: what forges send is authenticated, stored and answered at once, and decided on afterwards.
//
// The handler asks nobody anything. It stores the body as it came, durably, and answers; a delivery that was answered is
// never lost, and one that comes twice is decided on once.
//
// The loop takes stored deliveries in the order in which they came, repository by repository. It decodes one to an Event,
// looks up at the forge what it must know, and then decides in one transaction: builds are made, or a reason why there is
// none is kept with the delivery. A look-up that fails is tried again later and holds up its own repository only.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A Forge is what intake must ask of a forge. The error of a question wraps store.ErrNotFound if there is no such thing;
// any other error means that the question is to be asked again later.
//
// Of a pull request whose head lies in another repository, that one is asked for its commits and files if the pull request has a
// HeadName: by its ID and Name, and otherwise as the pull request's own.
type Forge interface {
	// PullRequest gives a pull request as it is now. One that is over may have no Head, if that commit is gone.
	PullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error)
	// Permission gives what a person may do in a repository now. Somebody unknown there may do nothing. The error wraps
	// store.ErrForbidden if nobody lets us ask.
	Permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error)
	// Commit gives the commit that a branch, tag, ref, hash or pr/<n> names; the default branch's newest for the empty one.
	Commit(ctx context.Context, r store.Repo, version string) (store.Commit, error)
	// FileID gives what tells one content of a file from another in a commit; empty if the file is not there.
	FileID(ctx context.Context, r store.Repo, commit, path string) (string, error)
	// Owns reports whether a commit, which Commit gave for a version, belongs to the repository: one of its branches or tags
	// leads to it. A forge may give a fork's commits by their hashes as well.
	Owns(ctx context.Context, r store.Repo, version, commit string) (bool, error)
	// Acknowledge answers a comment by a reaction. More than once is once. An error keeps nobody from obeying the comment.
	Acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error
}

// A Completer is a Forge whose deliveries name commits by shortened hashes.
type Completer interface {
	// Complete gives a pull request of a delivery its full hashes. The error wraps store.ErrNotFound if its newest commit is gone; the
	// others are full then.
	Complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error
}

// A DeliveryLog is a forge that remembers what it sent, or could not send. A Source whose Forge implements it gets back what was missed.
type DeliveryLog interface {
	// Deliveries gives what the forge sent from a time on, newest first. Attempts of one delivery have one id.
	Deliveries(ctx context.Context, since time.Time) ([]Sent, error)
	// Redeliver asks the forge to send again.
	Redeliver(ctx context.Context, s Sent) error
	// Fetch gives the headers and the body of what was sent.
	Fetch(ctx context.Context, s Sent) (header http.Header, body []byte, err error)
}

// A Looker is a forge that does not remember what it sent, but shows how its repositories stand. What was not delivered is found by
// looking at them every now and then.
type Looker interface {
	// Repositories gives the repositories that the server builds, as they are called now.
	Repositories(ctx context.Context) ([]store.Repo, error)
	// LooksPerHour is how many looks at repositories of one installation leave room for everything else that is asked in an hour; 0 for
	// any number.
	LooksPerHour() int
	// Look gives the branches, tags and open pull requests of a repository, with full hashes.
	Look(ctx context.Context, r store.Repo) (Standing, error)
	// Comments gives the comments on a pull request that were made since a time, oldest first, but our own. Each has an id.
	Comments(ctx context.Context, r store.Repo, number int, since time.Time) ([]store.Comment, error)
}

// A Standing is how a repository stands.
type Standing = store.Standing

// A Sent is one attempt of a forge to deliver.
type Sent = store.Sent

// A Source is a forge that sends deliveries.
type Source struct {
	Name string // github, local, ...
	Host string // github.com
	// Verify refuses a delivery whose headers alone show that it is not authentic, before its body is read, and else gives
	// the func that authenticates it over its raw bytes. The error wraps ErrNoSecret if nothing is configured to do it
	// with. It is nil for deliveries that the server itself stores.
	Verify func(h http.Header) (signed func(body []byte) error, err error)
	// Hello reports whether what Verify refuses is a greeting: it needs no signature, means nothing and is answered. It gets at
	// most 1 KiB of a body. It is nil for a forge that signs all it says.
	Hello func(h http.Header, body []byte) bool
	// Identify gives a delivery's id and event, both empty if the headers lack them.
	Identify func(h http.Header) (id, event string)
	// Decode says what a delivery means. It asks nobody. An error means that it can mean nothing.
	Decode func(event string, body []byte) (Event, error)
	// Organization gives Event.Organization of what is found by looking. It is nil for a forge that is not looked at, or has none.
	Organization func(r store.Repo) string
	Forge        Forge
	// PullByCommit says that CODEBUILD_SOURCE_VERSION of a pull request's build is its commit, as CodeBuild has it at this forge.
	PullByCommit bool
	// Fetch is for a forge that cannot reach the server: its deliveries are fetched, or all is found by looking. The Forge must be a
	// DeliveryLog or a Looker.
	Fetch bool
}

// ErrNoSecret says that no webhook secret is configured.
var ErrNoSecret = errors.New("no webhook secret is configured")

// A Project is a configured project of a repository.
type Project struct {
	Name     string
	Settings store.Settings
	Filters  *Filters // nil for none
	Rules    Rules
	Bound    bool // the configuration names the repository by its id
}

// Config is what intake works with.
type Config struct {
	Store   *store.Store
	Sources []Source
	// Projects are the configured projects of a repository; none for a repository that is its own project.
	Projects func(store.Repo) []Project
	// Settings are those of a project that is not configured.
	Settings store.Settings
	Rules    Rules // likewise
	Commands Commands
	// ChangedFiles gives the names of the files that differ between the commit that base and the trigger's have in common and the
	// trigger's; without a base, between that one's first parent and it. Both names of a file that was renamed. An error that wraps
	// store.ErrNotFound says that the commit is gone.
	ChangedFiles func(ctx context.Context, r store.Repo, t *store.Trigger, base string) ([]string, error)
	// SweepEvery is how often a forge's log of deliveries is read for those that were missed; ten minutes if it is 0. An attempt
	// to deliver that is younger, or younger than half a minute, is left alone: the next may be under way. As often a forge is looked
	// at that has no such log; what is different is looked at again after half a minute, or after this time if it is shorter.
	SweepEvery time.Duration
	// LooksPerHour takes the place of what forges say of themselves, unless it is 0.
	LooksPerHour int
	Log          *slog.Logger
}

// Intake is the handler and the loop.
type Intake struct {
	Config
	recovery
	bodies allowance

	sourcesMu sync.RWMutex
	sources   map[string]*Source
	added     chan struct{} // closed and replaced when a source comes

	// Counts of deliveries by what the handler answered.
	Accepted, Duplicates, Unsigned, Refused, Greetings atomic.Int64
	// Unknown counts deliveries whose event or action this program does not know.
	Unknown atomic.Int64

	// Fetched counts those that were not delivered and fetched instead, or found by looking.
	Fetched atomic.Int64
}

// New gives an intake. Register mounts its handler, Run is its loop.
func New(c Config) *Intake {
	i := &Intake{Config: c, sources: map[string]*Source{}, added: make(chan struct{})}
	for n := range c.Sources {
		i.sources[c.Sources[n].Name] = &c.Sources[n]
	}
	return i
}

// AddSource adds a forge while the intake runs, or replaces the one of its name.
func (i *Intake) AddSource(s Source) {
	i.sourcesMu.Lock()
	defer i.sourcesMu.Unlock()
	i.sources[s.Name] = &s
	close(i.added)
	i.added = make(chan struct{})
}

// source is the forge of a name; nil if there is none.
func (i *Intake) source(name string) *Source {
	i.sourcesMu.RLock()
	defer i.sourcesMu.RUnlock()
	return i.sources[name]
}

// maxDelivery is the most bytes a delivery may have; GitHub sends none that is larger.
const maxDelivery = 25 << 20

// Register mounts POST /webhook/<forge>.
func (i *Intake) Register(e *echo.Echo) {
	e.POST("/webhook/:forge", i.receive)
}

// receive stores a delivery and answers 202. Every other answer says what to do, except to whoever cannot sign.
func (i *Intake) receive(c echo.Context) error {
	source := i.source(c.Param("forge"))
	if source == nil || source.Verify == nil {
		return answer(c, http.StatusNotFound, "no forge of that name is configured here")
	}
	if disk, err := i.Store.Disk(); err != nil || disk.Low() {
		i.Refused.Add(1)
		return answer(c, http.StatusServiceUnavailable, "the disk of this server is nearly full; send the delivery again later")
	}
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		i.Refused.Add(1)
		return answer(c, http.StatusUnsupportedMediaType, "the content type is not application/json; set it in the webhook's settings")
	}
	if r.ContentLength > maxDelivery {
		i.Refused.Add(1)
		return answer(c, http.StatusRequestEntityTooLarge, tooLarge)
	}
	signed, err := source.Verify(r.Header)
	switch {
	case errors.Is(err, ErrNoSecret):
		i.Refused.Add(1)
		return answer(c, http.StatusServiceUnavailable, "no webhook secret is configured; deliveries are not taken unsigned")
	case err != nil && greets(source, c):
		i.Greetings.Add(1)
		return c.JSON(http.StatusOK, map[string]bool{"hello": true})
	case err != nil:
		i.Unsigned.Add(1)
		return answer(c, http.StatusUnauthorized, unsigned)
	}
	size := r.ContentLength
	if size < 0 {
		size = maxDelivery // nobody knows
	}
	if !i.bodies.take(size) {
		i.Refused.Add(1)
		c.Response().Header().Set("Retry-After", "10")
		return answer(c, http.StatusServiceUnavailable, "too many large deliveries come at a time; send the delivery again later")
	}
	defer i.bodies.give(size)
	body, err := readBody(c)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		i.Refused.Add(1)
		return answer(c, http.StatusRequestEntityTooLarge, tooLarge)
	} else if err != nil {
		i.Refused.Add(1)
		return answer(c, http.StatusBadRequest, "the body could not be read to its end")
	}
	if err := signed(body); err != nil {
		i.Unsigned.Add(1)
		return answer(c, http.StatusUnauthorized, unsigned)
	}
	id, event := source.Identify(r.Header)
	if id == "" || event == "" || len(id) > 200 || len(event) > 100 {
		i.Refused.Add(1)
		return answer(c, http.StatusBadRequest, "the headers name no delivery or no event")
	}
	if strings.HasPrefix(event, foundPrefix) {
		i.Refused.Add(1)
		return answer(c, http.StatusBadRequest, "events that begin with "+foundPrefix+" are the server's own")
	}
	d := store.Delivery{Forge: source.Name, Host: source.Host, ID: id, Event: event, UserAgent: clip(r.UserAgent(), 200)}
	accepted, err := i.Store.Accept(&d, body)
	if err != nil {
		i.Refused.Add(1)
		i.Log.Error("storing a delivery", "delivery", id, "err", err)
		return answer(c, http.StatusServiceUnavailable, "the delivery could not be stored; send it again later")
	}
	if !accepted {
		i.Duplicates.Add(1)
		return c.JSON(http.StatusAccepted, map[string]any{"delivery": d.Seq, "duplicate": true})
	}
	i.Accepted.Add(1)
	i.Store.At("delivery stored")
	return c.JSON(http.StatusAccepted, map[string]any{"delivery": d.Seq})
}

const unsigned = "the signature is missing or wrong"

var tooLarge = fmt.Sprintf("a delivery may have %d bytes", maxDelivery)

// readBody reads the body of a delivery into as much memory as it says that it needs.
func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	limitTime(c)
	if r.ContentLength < 0 {
		return io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxDelivery))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// limitTime bounds how long the body may take. Not every server can do it, and then its own limit holds.
func limitTime(c echo.Context) {
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyTime))
}

// An allowance bounds the memory that bodies have, which hold it before anybody knows whether they are authentic. Its zero
// value is ready.
type allowance struct{ used atomic.Int64 }

const (
	maxBodies = 128 << 20 // bytes of all bodies at a time
	// largeBodies is what bodies of more than a smallBody may have of it, so that few that are large and slow do not keep
	// out the many that are neither.
	largeBodies = 96 << 20
	smallBody   = 1 << 20
	// bodyTime is how long a body may take. GitHub hangs up after ten seconds.
	bodyTime = 20 * time.Second
)

// take reports whether there is room for so many bytes, and takes it.
func (a *allowance) take(n int64) bool {
	limit := int64(maxBodies)
	if n > smallBody {
		limit = largeBodies
	}
	if a.used.Add(n) > limit {
		a.used.Add(-n)
		return false
	}
	return true
}

// give gives back what take took.
func (a *allowance) give(n int64) { a.used.Add(-n) }

func answer(c echo.Context, status int, text string) error {
	return c.JSON(status, map[string]string{"error": text})
}

// clip shortens text to at most n bytes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
