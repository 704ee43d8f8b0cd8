package bitbucket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"buildsmith/store"
)

// cloud is the api of Bitbucket Cloud.
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/
type cloud struct{ *Host }

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// path is the beginning of the address of what belongs to a repository: by its id, which stays when it is renamed, or by its name if
// nobody knows the id. It holds below /repositories/ and other lists of repositories.
func (cloud) path(r store.Repo) string {
	owner, slug, _ := strings.Cut(r.Name, "/")
	if uuid.MatchString(r.ID) {
		slug = "{" + r.ID + "}"
	}
	return url.PathEscape(owner) + "/" + url.PathEscape(slug)
}

// do is Host.do of something of a repository.
func (a cloud) do(ctx context.Context, r store.Repo, method, path string, body, v any) error {
	c, err := a.of(r)
	if err != nil {
		return err
	}
	return a.Host.do(ctx, c, method, "/repositories/"+a.path(r)+path, body, v)
}

// pageLengths are how many entries of a list are asked for at a time: as many as there may be, and fewer if they are more text than is
// read.
var pageLengths = []int{100, 20, 4}

// each asks for a list, page by page, of at most longest entries each. part says that there is more than was asked for.
func each[T any](ctx context.Context, h *Host, c *credential, path string, query url.Values, longest, pages int) (all []T, part bool, err error) {
	for n, length := range pageLengths {
		query.Set("pagelen", fmt.Sprint(min(length, longest)))
		all, part, err = list[T](ctx, h, c, path+"?"+query.Encode(), pages)
		if !errors.Is(err, errTooLarge) || n == len(pageLengths)-1 {
			break
		}
	}
	return all, part, err
}

// list asks for a list from one address on, following the addresses of further pages.
func list[T any](ctx context.Context, h *Host, c *credential, path string, pages int) (all []T, part bool, err error) {
	for range pages {
		var page struct {
			Values []T
			Next   string
		}
		if err := h.do(ctx, c, http.MethodGet, path, nil, &page); err != nil {
			return nil, false, err
		}
		all = append(all, page.Values...)
		if page.Next == "" {
			return all, false, nil
		}
		if path, err = h.below(page.Next); err != nil {
			return nil, false, fmt.Errorf("the next page: %w", err)
		}
	}
	return all, true, nil
}

// repositoryFields are what is asked for of a repository.
const repositoryFields = "uuid,full_name,is_private,mainbranch.name"

// A cloudRepository is a repository as Cloud sends it.
type cloudRepository struct {
	UUID       string
	FullName   string `json:"full_name"`
	Private    bool   `json:"is_private"`
	MainBranch *struct{ Name string }
}

func (a cloud) repo(c *credential, r *cloudRepository) (store.Repo, error) {
	id := bare(r.UUID)
	owner, slug, _ := strings.Cut(r.FullName, "/")
	if !uuid.MatchString(id) || !plainName(owner) || !plainName(slug) {
		return store.Repo{}, fmt.Errorf("Bitbucket describes a repository without an id or a name")
	}
	made := store.Repo{Forge: a.Name, Host: a.host(), ID: id, Name: r.FullName, CloneURL: a.cloneURL(r.FullName), WebURL: a.Web + "/" + r.FullName,
		Private: r.Private, Installation: c.number}
	if r.MainBranch != nil {
		made.DefaultBranch = r.MainBranch.Name
	}
	return made, nil
}

// bare is a uuid without its braces, in small letters.
func bare(id string) string { return strings.ToLower(strings.Trim(id, "{}")) }

// prefixed are names of fields below another.
func prefixed(prefix, fields string) string {
	return prefix + strings.ReplaceAll(fields, ",", ","+prefix)
}

// repository implements api.
func (a cloud) repository(ctx context.Context, c *credential, name string) (store.Repo, error) {
	var r cloudRepository
	if err := a.Host.do(ctx, c, http.MethodGet, "/repositories/"+a.path(store.Repo{Name: name})+"?fields="+repositoryFields, nil, &r); err != nil {
		return store.Repo{}, err
	}
	return a.repo(c, &r)
}

// within implements api.
func (a cloud) within(ctx context.Context, c *credential, owner string) (all []store.Repo, err error) {
	query := url.Values{"fields": {"next," + prefixed("values.", repositoryFields)}, "sort": {"full_name"}}
	if c.Project != "" {
		query.Set("q", "project.key="+quoted(c.Project))
	}
	found, part, err := each[cloudRepository](ctx, a.Host, c, "/repositories/"+url.PathEscape(owner), query, 100, maxPages)
	if part {
		err = fmt.Errorf("%s has more repositories than are looked at: name those that are to be built", owner)
	}
	for n := range found {
		r, wrong := a.repo(c, &found[n])
		if wrong != nil {
			err = wrong
			continue
		}
		all = append(all, r)
	}
	return all, err
}

// quoted is a text in a query.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// words implements api.
func (cloud) words(body []byte) (text string, rights []string) {
	var said struct {
		Error struct {
			Message string
			Detail  json.RawMessage
			Fields  map[string]json.RawMessage
		}
	}
	if json.Unmarshal(body, &said) != nil {
		return "", nil
	}
	text = said.Error.Message
	var detail struct{ Required []string }
	var words string
	switch {
	case json.Unmarshal(said.Error.Detail, &detail) == nil:
		for _, scope := range detail.Required {
			if len(rights) < 10 && scopeName.MatchString(scope) {
				rights = append(rights, "the scope "+scope)
			}
		}
	case json.Unmarshal(said.Error.Detail, &words) == nil && words != "" && words != text:
		text += ": " + words
	}
	for field := range said.Error.Fields {
		text += " (" + clip(field, 40) + ")"
		break
	}
	return text, rights
}

var scopeName = regexp.MustCompile(`^[a-z0-9:_-]{1,60}$`)

// basic implements api.
func (cloud) basic(c *credential) string { return c.Email }

// cloneUser implements api.
// https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
func (cloud) cloneUser(c *credential) string {
	switch {
	case c.Username != "":
		return c.Username
	case c.Email != "":
		return "x-bitbucket-api-token-auth"
	}
	return "x-token-auth"
}

// cloneURL implements api.
func (a cloud) cloneURL(name string) string { return a.Web + "/" + name + ".git" }

// links implements api.
func (a cloud) links(name string) (commit, pull string) {
	return a.Web + "/" + name + "/commits/", a.Web + "/" + name + "/pull-requests/"
}

// self implements api. Access tokens may not ask.
func (a cloud) self(ctx context.Context, c *credential) (string, error) {
	var user cloudUser
	_, err := a.send(ctx, c, request{method: http.MethodGet, path: "/user", quiet: true}, &user)
	switch statusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return "", nil
	}
	return user.AccountID, err
}

// maxLogin is how many characters of a person's name are shown.
const maxLogin = 60

// A cloudUser is a person or a program as Cloud sends it.
type cloudUser struct {
	Type        string
	AccountID   string `json:"account_id"`
	Nickname    string
	DisplayName string `json:"display_name"`
}

func (u *cloudUser) account() store.Account {
	if u == nil {
		return store.Account{}
	}
	// Anybody may be called anything: in what we write a name must not end the quotes around it.
	login := strings.ReplaceAll(clip(line(cmp.Or(u.Nickname, u.DisplayName)), maxLogin), "`", "'")
	return store.Account{ID: u.AccountID, Login: login, Bot: u.Type != "" && u.Type != "user"}
}
