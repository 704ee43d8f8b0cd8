// Package bitbucket is what Bitbucket Cloud and Bitbucket Data Center say to us: deliveries of a webhook, authenticated and decoded.
//
// The two have a name in common and little else: each has its own events and payloads, which are read into structs of our own that
// hold just what is needed. Links of a payload are never followed: addresses are made of the configuration and of names.
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
package bitbucket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"buildsmith/store"
	"buildsmith/webhook"
)

// Config says who sends deliveries.
type Config struct {
	Name       string   // the forge's, in the store and in the address of its webhook
	Host       string   // bitbucket.org, or that of a Data Center
	Web        string   // where people see it, without a slash at the end: https://bitbucket.org
	DataCenter bool     // else it is Cloud
	Secrets    []string // each may have signed a delivery: the current one and, for a while, the one before
	// Matched is told which of the secrets signed a delivery, by its place among them. It may be nil.
	Matched func(secret int)
	// Installation gives the number of the credential that is for a repository, by the repository's full name. It may be nil.
	Installation func(repo string) int64
	// DefaultBranch gives the default branch of a repository by its full name, which deliveries do not tell, or nothing. It may be nil.
	DefaultBranch func(repo string) string
}

// Verify authenticates a delivery: by an HMAC of the raw body by one of the secrets.
func (c Config) Verify(h http.Header) (signed func(body []byte) error, err error) {
	return webhook.VerifySignature(h.Get("X-Hub-Signature"), c.Secrets, c.Matched)
}

// Hello reports whether a delivery is what a Data Center sends when somebody tries whether a webhook can be reached. It is not signed,
// whatever the webhook's secret.
func (c Config) Hello(h http.Header, body []byte) bool {
	if !c.DataCenter || h.Get("X-Event-Key") != eventPing || len(h.Values("X-Hub-Signature")) > 0 {
		return false
	}
	var said map[string]bool
	return json.Unmarshal(body, &said) == nil && len(said) == 1 && said["test"]
}

// deliveryID is what a delivery is known by: a UUID, or what a node of a Data Center makes, with the node before it.
var deliveryID = regexp.MustCompile(`^[A-Za-z0-9@*{][A-Za-z0-9@*{}:._-]*$`)

// Identify gives a delivery's id, which stays when Bitbucket tries again, and its event.
func (c Config) Identify(h http.Header) (id, event string) {
	id = h.Get("X-Request-UUID")
	if c.DataCenter {
		id = h.Get("X-Request-Id")
	}
	if !deliveryID.MatchString(id) {
		id = ""
	}
	return id, h.Get("X-Event-Key")
}

// Decode says what a delivery means. What is not known, or concerns others, means nothing; that is no error. Hashes of a pull request
// may be shortened.
func (c Config) Decode(event string, body []byte) (webhook.Event, error) {
	e, reason, err := webhook.Event{}, "", error(nil)
	if c.DataCenter {
		e, reason, err = c.dataCenter(event, body)
	} else {
		e, reason, err = c.cloud(event, body)
	}
	if err != nil {
		return e, fmt.Errorf("the payload of %.100s %w", event, err)
	}
	if e.Repo.ID != "" && e.Repo.DefaultBranch == "" && c.DefaultBranch != nil {
		e.Repo.DefaultBranch = c.DefaultBranch(e.Repo.Name)
	}
	if reason != "" {
		e.Kind, e.Reason = webhook.Nothing, reason
		if e.Summary == "" {
			e.Summary = event
		}
	}
	return e, nil
}

// read reads a payload. One of an event that starts nothing may have something else under the names that are known here.
func read(body []byte, into any, known bool) error {
	err := json.Unmarshal(body, into)
	if other := (*json.UnmarshalTypeError)(nil); err == nil || !known && errors.As(err, &other) {
		return nil
	}
	return fmt.Errorf("is not what Bitbucket describes: %w", err)
}

// startsNothing says of an event that nothing is made of why not, and notes whether it is known.
func startsNothing(event string, quiet map[string]string, e *webhook.Event) string {
	reason, known := quiet[event]
	e.Unknown = !known
	if reason == "" {
		reason = fmt.Sprintf("%.100s events start nothing", event)
	}
	return reason
}

const (
	commentEdited  = "a comment that is edited starts nothing"
	commentDeleted = "a comment that is deleted starts nothing"
	noRepository   = "the payload names no repository"
	noPullRequest  = "the payload names no pull request"
)

// Events gives those of CodeBuild's webhook events that a Bitbucket can tell of. What filters ask of others never comes: Bitbucket has
// no releases, and Cloud does not open a pull request again.
func Events(dataCenter bool) []string {
	list := []string{store.EventPush, store.EventPullRequestCreated, store.EventPullRequestUpdated, store.EventPullRequestMerged, store.EventPullRequestClosed}
	if dataCenter {
		list = append(list, store.EventPullRequestReopen)
	}
	return list
}
