package bitbucket

import (
	"context"
	"net/http"
	"net/url"

	"buildsmith/store"
)

// cloudEvents are those that a webhook of ours has.
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
var cloudEvents = []string{"repo:push", "repo:updated", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected",
	"pullrequest:comment_created"}

// events implements api.
func (cloud) events() []string { return cloudEvents }

// A cloudHook is a webhook to be made or changed.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-webhooks/
type cloudHook struct {
	Description string   `json:"description"`
	URL         string   `json:"url"`
	Active      bool     `json:"active"`
	Secret      string   `json:"secret"`
	Events      []string `json:"events"`
}

// hooks implements api. Cloud always checks certificates.
func (a cloud) hooks(ctx context.Context, r store.Repo) (list []hook, err error) {
	c, err := a.of(r)
	if err != nil {
		return nil, err
	}
	type listed struct {
		UUID, Description, URL string
		Active                 bool
		Signed                 bool `json:"secret_set"`
		Events                 []string
	}
	found, _, err := each[listed](ctx, a.Host, c, "/repositories/"+a.path(r)+"/hooks", url.Values{}, 100, maxPages)
	for _, one := range found {
		list = append(list, hook{ID: one.UUID, Name: one.Description, URL: one.URL, Active: one.Active, Signed: one.Signed, Events: one.Events, Strict: true})
	}
	return list, err
}

func ofHook(h *hook) cloudHook {
	return cloudHook{Description: h.Name, URL: h.URL, Active: h.Active, Secret: h.Secret, Events: h.Events}
}

// makeHook implements api.
func (a cloud) makeHook(ctx context.Context, r store.Repo, made hook) error {
	return a.do(ctx, r, http.MethodPost, "/hooks", ofHook(&made), nil)
}

// changeHook implements api.
func (a cloud) changeHook(ctx context.Context, r store.Repo, changed hook) error {
	return a.do(ctx, r, http.MethodPut, "/hooks/"+url.PathEscape(changed.ID), ofHook(&changed), nil)
}

// removeHook implements api.
func (a cloud) removeHook(ctx context.Context, r store.Repo, id string) error {
	return a.do(ctx, r, http.MethodDelete, "/hooks/"+url.PathEscape(id), nil, nil)
}
