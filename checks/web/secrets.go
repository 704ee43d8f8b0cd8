package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A Secret is a secret in the API, without its values.
type Secret struct {
	Name     string          `json:"name"`
	Projects []string        `json:"projects"`       // patterns of those that may read it
	Refs     []string        `json:"refs,omitempty"` // patterns of the refs whose builds may; missing for all
	Created  time.Time       `json:"created"`
	Changed  time.Time       `json:"changed"`
	Versions []SecretVersion `json:"versions"` // newest first
}

// A SecretVersion is one version of a secret.
type SecretVersion struct {
	ID      string    `json:"id"`
	Number  int       `json:"number"`
	Stages  []string  `json:"stages,omitempty"`
	Created time.Time `json:"created"`
}

// A SecretRequest sets a secret. What is missing stays as it is; a new secret needs a value and projects.
type SecretRequest struct {
	Value    *string  `json:"value,omitempty"`
	Stage    string   `json:"stage,omitempty"` // of the new version; AWSCURRENT if it is missing
	Projects []string `json:"projects,omitempty"`
	Refs     []string `json:"refs"` // an empty list takes the rule away
}

// A SecretSet is a secret that was set.
type SecretSet struct {
	Secret
	Unmatched []string `json:"unmatched,omitempty"` // the patterns of Projects that no project has yet
}

// A SecretValue is one version with its value.
type SecretValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	SecretVersion
}

// A SecretKey is what became of replacing the key.
type SecretKey struct {
	Values int `json:"values"` // how many were encrypted to the new one
}

// maxSecretForm bounds the JSON of a SecretRequest, in which a byte of the value can take six.
const maxSecretForm = 6*store.MaxSecret + maxForm

// keepsSecrets serves what needs the secrets. Its requests may be as large as one with a value is.
func (w *Web) keepsSecrets(h func(echo.Context) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		body := c.Request().Body // before it is bounded for other requests
		return w.api(func(c echo.Context) error {
			if w.Secrets == nil {
				return problem{http.StatusNotFound, "", "this server keeps no secrets"}
			}
			c.Request().Body = http.MaxBytesReader(c.Response(), body, maxSecretForm)
			return h(c)
		})(c)
	}
}

// audit tells the operator who did something with a secret.
func (w *Web) audit(c echo.Context, what, name string, more ...any) {
	more = append(more, "address", address(c.Request()))
	if name != "" {
		more = append([]any{"secret", name}, more...)
	}
	if via := c.Request().Header.Get(echo.HeaderXForwardedFor); via != "" {
		more = append(more, "forwarded", clip(via))
	}
	w.Log.Info(what, more...)
}

// secretName is the name in the address, which echo leaves as it was escaped.
func secretName(c echo.Context) (string, error) {
	name := c.Param("*")
	if c.Request().URL.RawPath != "" {
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
	}
	plain, err := store.SecretName(name)
	return plain, secretError(err)
}

// secretError is what is wrong with a request, or an error of ours.
func secretError(err error) error {
	switch {
	case errors.Is(err, store.ErrNoVersion):
		return problem{http.StatusNotFound, "", "the secret has no such version; `buildsmith secret list` shows those that there are"}
	case errors.Is(err, store.ErrNotFound):
		return problem{http.StatusNotFound, "", "there is no such secret; `buildsmith secret list` shows those that there are"}
	case errors.Is(err, fs.ErrInvalid):
		return problem{http.StatusBadRequest, "", err.Error()}
	}
	return err
}

func secretOf(s *store.Secret) Secret {
	v := Secret{s.Name, s.Rules.Projects, s.Rules.Refs, s.Created, s.Changed, []SecretVersion{}}
	for _, version := range s.Versions {
		v.Versions = append(v.Versions, SecretVersion(version))
	}
	return v
}

func (w *Web) apiSecrets(c echo.Context) error {
	list, err := w.Secrets.List()
	if err != nil {
		return err
	}
	answer := []Secret{}
	for i := range list {
		answer = append(answer, secretOf(&list[i]))
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (w *Web) apiSetSecret(c echo.Context) error {
	name, err := secretName(c)
	if err != nil {
		return err
	}
	var r SecretRequest
	in := json.NewDecoder(c.Request().Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&r); err != nil { // whose text may quote the value
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return problem{http.StatusBadRequest, "", fmt.Sprintf("the request is too large: a value has at most %d bytes", store.MaxSecret)}
		}
		return problem{http.StatusBadRequest, "", `the request is not understood; send {"value": "...", "projects": ["..."], "refs": ["..."], "stage": "..."}; what stays as it is may be left out`}
	}
	var secret store.Secret
	if r.Value == nil {
		if r.Stage != "" {
			return problem{http.StatusBadRequest, "", "a stage is that of a new version: send a value too"}
		}
		secret, err = w.Secrets.Allow(name, r.Projects, r.Refs)
	} else {
		secret, err = w.Secrets.Put(name, *r.Value, store.SecretPut{Stage: r.Stage, Projects: r.Projects, Refs: r.Refs})
	}
	if err != nil {
		return secretError(err)
	}
	if r.Value == nil {
		w.audit(c, "changed who may read a secret", name, "projects", secret.Rules.Projects, "refs", secret.Rules.Refs)
	} else {
		w.audit(c, "set a secret", name, "version", secret.Last, "projects", secret.Rules.Projects, "refs", secret.Rules.Refs)
	}
	answer := SecretSet{Secret: secretOf(&secret)}
	if err := w.Store.View(func(tx *store.Tx) error {
		projects, err := tx.Projects()
		answer.Unmatched = unmatched(secret.Rules.Projects, projects)
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answer)
}

// unmatched are the patterns that have none of the projects.
func unmatched(patterns []string, projects []store.Project) (list []string) {
	for _, pattern := range patterns {
		found := pattern == "*"
		for _, p := range projects {
			found = found || store.MatchProject(pattern, p.Repo, p.Name, p.Key)
		}
		if !found {
			list = append(list, pattern)
		}
	}
	return list
}

func (w *Web) apiSecret(c echo.Context) error {
	name, err := secretName(c)
	if err != nil {
		return err
	}
	pick := store.SecretPick{ID: c.QueryParam("version"), Stage: c.QueryParam("stage")}
	if n, err := strconv.Atoi(pick.ID); err == nil {
		if n == 0 {
			n = -1 // they begin at 1; a pick of none is the current one
		}
		pick.ID, pick.Number = "", n
	}
	value, secret, version, err := w.Secrets.Value(name, pick)
	if err != nil {
		return secretError(err)
	}
	w.audit(c, "read a secret", name, "version", version.Number)
	return writeJSON(c, http.StatusOK, SecretValue{secret.Name, value, SecretVersion(version)})
}

func (w *Web) apiRemoveSecret(c echo.Context) error {
	name, err := secretName(c)
	if err != nil {
		return err
	}
	if err := w.Secrets.Delete(name); err != nil {
		return secretError(err)
	}
	w.audit(c, "removed a secret", name)
	return writeJSON(c, http.StatusOK, struct{}{})
}

func (w *Web) apiRotateSecretKey(c echo.Context) error {
	n, err := w.Secrets.RotateKey()
	if err != nil { // what is wrong is the operator's to mend, who asks
		w.Log.Error("replacing the key of the secrets", "err", err)
		return problem{http.StatusInternalServerError, "", err.Error()}
	}
	w.audit(c, "replaced the key of the secrets", "", "values", n)
	return writeJSON(c, http.StatusOK, SecretKey{n})
}
