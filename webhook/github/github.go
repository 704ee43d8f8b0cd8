// Package github is what GitHub says to us: deliveries of the App's webhook, authenticated and decoded.
//
// Payloads are read into structs of our own that hold just what is needed. go-github's fail for every event of a repository
// that has a custom property with several values, and for events it does not know.
// https://docs.github.com/webhooks/webhook-events-and-payloads
package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"buildsmith/webhook"
)

// Name is the forge's name in the store and in the address of its webhook.
const Name = "github"

// Config says who sends deliveries.
type Config struct {
	Host    string   // github.com, or that of an Enterprise Server
	Web     string   // where people see it, without a slash at the end: https://github.com
	AppID   int64    // the App whose deliveries these are
	Secrets []string // each may have signed a delivery: the current one and, for a while, the one before
	// Matched is told which of the secrets signed a delivery, by its place among them. It may be nil.
	Matched func(secret int)
}

// Verify authenticates a delivery, which is made for our App: by an HMAC of the raw body by one of the secrets.
func (c Config) Verify(h http.Header) (signed func(body []byte) error, err error) {
	signed, err = webhook.VerifySignature(h.Get("X-Hub-Signature-256"), c.Secrets, c.Matched)
	if err != nil {
		return nil, err
	}
	if id := h.Get("X-GitHub-Hook-Installation-Target-ID"); id != "" && id != strconv.FormatInt(c.AppID, 10) {
		return nil, errors.New("the delivery is for another App")
	}
	return signed, nil
}

// Identify gives a delivery's id, which stays when GitHub delivers again, and its event.
func Identify(h http.Header) (id, event string) {
	return h.Get("X-GitHub-Delivery"), h.Get("X-GitHub-Event")
}

// fullName is the name of a repository: no owner begins with a dot, and no repository is called . or ..
var fullName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*/(\.?[A-Za-z0-9_-]|\.\.[A-Za-z0-9_.-])[A-Za-z0-9_.-]*$`)

// quiet are events that an App gets or may have subscribed to, and that are known to mean nothing here. A push tells of created
// and deleted refs too.
var quiet = map[string]bool{"create": true, "delete": true, "github_app_authorization": true, "status": true, "workflow_run": true, "workflow_job": true}

// Decode says what a delivery means. What is not known, or concerns others, means nothing; that is no error.
func (c Config) Decode(event string, body []byte) (webhook.Event, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return webhook.Event{}, fmt.Errorf("the payload of %s is not what GitHub describes: %w", event, err)
	}
	e := webhook.Event{Sender: p.Sender.account(), Organization: p.Organization.Login}
	if r := p.Repository; r != nil && r.ID != 0 {
		if !fullName.MatchString(r.FullName) {
			return e, fmt.Errorf("the payload of %s names the repository %.100q", event, r.FullName)
		}
		var id int64
		if p.Installation != nil {
			id = p.Installation.ID
		}
		e.Repo = c.repo(r, id)
	}
	if event == "ping" {
		e.Kind, e.Summary = webhook.Ping, "ping"
		return e, nil
	}
	nothing := func(format string, args ...any) (webhook.Event, error) {
		e.Kind, e.Reason = webhook.Nothing, fmt.Sprintf(format, args...)
		if e.Summary == "" {
			e.Summary = strings.TrimSpace(event + " " + p.Action)
		}
		return e, nil
	}
	decode := map[string]func(*payload, *webhook.Event) string{
		"push": push, "pull_request": pulled, "issue_comment": commented, "check_run": c.checkRun, "check_suite": c.checkSuite,
		"merge_group": mergeGroup, "release": released, "repository": repositoryChanged,
		"installation": c.installation, "installation_repositories": c.installation, "installation_target": c.installation,
	}[event]
	if decode == nil {
		e.Unknown = !quiet[event]
		return nothing("%s events start nothing", event)
	}
	if e.Repo.ID == "" && !strings.HasPrefix(event, "installation") {
		return nothing("the payload names no repository")
	}
	if reason := decode(&p, &e); reason != "" {
		return nothing("%s", reason)
	}
	return e, nil
}
