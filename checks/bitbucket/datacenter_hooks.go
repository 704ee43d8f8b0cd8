package bitbucket

import (
	"context"
	"net/http"
	"strconv"

	"buildsmith/store"
)

// dcHook is a webhook. Its secret is among what is configured, and stays there if a change does not name it.
type dcHook struct {
	ID            int64             `json:"id,omitempty"`
	Name          string            `json:"name"`
	URL           string            `json:"url"`
	Active        bool              `json:"active"`
	Events        []string          `json:"events"`
	Configuration map[string]string `json:"configuration"`
	Verified      bool              `json:"sslVerificationRequired"`
}

// events of a webhook.
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
func (d *dataCenter) events() []string {
	return []string{"repo:refs_changed", "repo:modified", "pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted",
		"pr:comment:added", "pr:comment:edited"}
}

// hooks takes webhooks for signed: Data Center does not tell, and EnsureHooks tells the secret to each once.
func (d *dataCenter) hooks(ctx context.Context, r store.Repo) (found []hook, err error) {
	err = walk(ctx, d, r, dcRequest{where: inRepo("api", "/webhooks")}, dcFewThings, func(h struct {
		dcHook
		Configuration any `json:"configuration"` // anything may be in it, and nothing of it is needed
	}) bool {
		found = append(found, hook{ID: strconv.FormatInt(h.ID, 10), Name: h.Name, URL: h.URL, Active: h.Active, Signed: true, Events: h.Events, Strict: h.Verified})
		return true
	})
	return found, err
}

func dcHookOf(h hook) dcHook {
	return dcHook{Name: h.Name, URL: h.URL, Active: h.Active, Events: h.Events, Configuration: map[string]string{"secret": h.Secret}, Verified: h.Strict}
}

func (d *dataCenter) makeHook(ctx context.Context, r store.Repo, made hook) error {
	return d.ask(ctx, r, dcRequest{method: http.MethodPost, where: inRepo("api", "/webhooks"), body: dcHookOf(made)}, nil)
}

func (d *dataCenter) changeHook(ctx context.Context, r store.Repo, changed hook) error {
	return d.ask(ctx, r, dcRequest{method: http.MethodPut, where: inRepo("api", "/webhooks/"+changed.ID), body: dcHookOf(changed)}, nil)
}

func (d *dataCenter) removeHook(ctx context.Context, r store.Repo, id string) error {
	return d.ask(ctx, r, dcRequest{method: http.MethodDelete, where: inRepo("api", "/webhooks/"+id)}, nil)
}
