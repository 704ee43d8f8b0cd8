package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// page reads before and limit of a list.
func pageOf(c echo.Context) (before uint64, limit int, err error) {
	if before, err = number(c, "before"); err != nil {
		return 0, 0, err
	}
	n, err := number(c, "limit")
	switch {
	case err != nil:
		return 0, 0, err
	case n > maxLimit:
		return 0, 0, problem{http.StatusBadRequest, "", fmt.Sprintf("limit=%d is too many: ask for at most %d at a time and go on with before", n, maxLimit)}
	case n == 0:
		n = defaultLimit
	}
	return before, int(n), nil
}

// shown gives builds with the addresses of their pages.
func (w *Web) shown(tx *store.Tx, c echo.Context, builds []store.Build, details bool) ([]Build, error) {
	list := make([]Build, len(builds))
	for i := range builds {
		b := &builds[i]
		key, err := tx.LinkKey(b.ID, b.Repo)
		if err != nil {
			return nil, err
		}
		list[i] = buildOf(b, w.base(c)+"/builds/"+b.ID+"?k="+key, details)
	}
	return list, nil
}

func (w *Web) apiBuilds(c echo.Context) error {
	before, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	var answer BuildList
	if err := w.Store.View(func(tx *store.Tx) error {
		project := c.QueryParam("project")
		if project != "" {
			if project, err = projectNamed(tx, project); err != nil {
				return err
			}
		}
		list, err := tx.Builds(project, before, limit+1)
		if err != nil {
			return err
		}
		if len(list) > limit {
			list = list[:limit]
			answer.Next = list[limit-1].Seq
		}
		answer.Builds, err = w.shown(tx, c, list, false)
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answer)
}

// projectNamed gives the name of the project that somebody means: by its name, or by that of its repository, if that has one
// project only.
func projectNamed(tx *store.Tx, name string) (string, error) {
	if _, ok, err := tx.ProjectByName(name); err != nil || ok {
		return name, err
	}
	projects, err := tx.Projects()
	if err != nil {
		return "", err
	}
	var all, meant []string
	for _, p := range projects {
		all = append(all, p.Name)
		if p.Repo.Name == name {
			meant = append(meant, p.Name)
		}
	}
	switch {
	case len(meant) == 1:
		return meant[0], nil
	case len(meant) > 1:
		return "", problem{http.StatusConflict, "", fmt.Sprintf("%s has several projects; name one of them: %s", name, strings.Join(meant, ", "))}
	case len(all) == 0:
		return "", problem{http.StatusNotFound, "", fmt.Sprintf("there is no project %q, nor any other: a repository becomes one by its first push", clip(name))}
	case len(all) > toldProjects:
		all = append(all[:toldProjects], fmt.Sprintf("%d others", len(projects)-toldProjects))
	}
	return "", problem{http.StatusNotFound, "", fmt.Sprintf("there is no project %q; there are: %s", clip(name), strings.Join(all, ", "))}
}

// toldProjects are how many projects are told to somebody who means one that is not there.
const toldProjects = 20

func clip(text string) string { return fmt.Sprintf("%.100s", text) }

// apiBuild serves a build that the address names.
func (w *Web) apiBuild(h func(echo.Context, *store.Build) error) echo.HandlerFunc {
	return w.api(func(c echo.Context) error {
		b, err := w.find(idOf(c))
		if err != nil {
			return err
		}
		return h(c, &b)
	})
}

// idOf is the id in the address, which echo leaves as it was escaped.
func idOf(c echo.Context) string {
	id := c.Param("id")
	if c.Request().URL.RawPath == "" {
		return id
	}
	if plain, err := url.PathUnescape(id); err == nil {
		return plain
	}
	return id
}

var (
	wholeID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	partID  = regexp.MustCompile(`^[0-9a-f-]{6,36}$`)
)

// find finds a build by its id, the beginning of it, project:id or project#number.
func (w *Web) find(id string) (b store.Build, err error) {
	none := problem{http.StatusNotFound, "", fmt.Sprintf("there is no build %q; name one by its id, by at least 6 characters of it, as project:id or as project#number", clip(id))}
	err = w.Store.View(func(tx *store.Tx) error {
		if project, number, ok := strings.Cut(id, "#"); ok {
			b, err = findNumber(tx, project, number)
			return orElse(err, none)
		}
		uuid := id
		project, rest, named := strings.Cut(id, ":")
		if named {
			uuid = rest
		}
		if uuid = strings.ToLower(uuid); !wholeID.MatchString(uuid) {
			if named || !partID.MatchString(uuid) {
				return none
			}
			if uuid, err = only(uuid, tx.BuildIDs(uuid, 10)); err != nil {
				return orElse(err, none)
			}
		}
		if b, err = tx.Build(uuid); err == nil && named && b.Project != project {
			return none
		}
		return orElse(err, none)
	})
	return b, err
}

// only is the one id that begins with prefix.
func only(prefix string, ids []string) (string, error) {
	switch len(ids) {
	case 0:
		return "", store.ErrNotFound
	case 1:
		return ids[0], nil
	}
	return "", problem{http.StatusConflict, "", fmt.Sprintf("%q is the beginning of several ids: %s; give more of the one you mean", prefix, strings.Join(ids, ", "))}
}

func orElse(err error, none problem) error {
	if errors.Is(err, store.ErrNotFound) {
		return none
	}
	return err
}

// findNumber finds a build by its number within its project. Newer builds have higher numbers.
func findNumber(tx *store.Tx, project, number string) (store.Build, error) {
	n, err := strconv.Atoi(number)
	if err != nil {
		return store.Build{}, store.ErrNotFound
	}
	if project, err = projectNamed(tx, project); err != nil {
		return store.Build{}, err
	}
	for before := uint64(0); ; {
		list, err := tx.Builds(project, before, 100)
		if err != nil {
			return store.Build{}, err
		}
		for _, b := range list {
			if b.Number == n {
				return b, nil
			}
		}
		if len(list) == 0 || list[len(list)-1].Number < n {
			return store.Build{}, store.ErrNotFound
		}
		before = list[len(list)-1].Seq
	}
}

// answer answers with a build as it is now.
func (w *Web) answer(c echo.Context, id string) error {
	var list []Build
	if err := w.Store.View(func(tx *store.Tx) error {
		b, err := tx.Build(id)
		if err != nil {
			return err
		}
		if list, err = w.shown(tx, c, []store.Build{b}, true); err == nil && b.Queued() {
			_, list[0].WaitsFor, err = waiting(tx, &b)
		}
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, list[0])
}

func (w *Web) apiShow(c echo.Context, b *store.Build) error { return w.answer(c, b.ID) }

func (w *Web) apiLog(c echo.Context, b *store.Build) error { return w.serveLog(c, b) }

func (w *Web) apiStop(c echo.Context, b *store.Build) error {
	err := w.requestStop(b.ID)
	if errors.Is(err, store.ErrDone) {
		return problem{http.StatusConflict, "", fmt.Sprintf("the build is over (%s): there is nothing to stop", b.Status)}
	}
	if err != nil {
		return err
	}
	return w.answer(c, b.ID)
}

// apiRetry repeats a build, or builds what a notice says was not built.
func (w *Web) apiRetry(c echo.Context) error {
	id := idOf(c)
	b, err := w.find(id)
	var p problem
	switch {
	case err == nil && !b.Done():
		return problem{http.StatusConflict, "", "the build is not over yet: stop it first, or wait for its end"}
	case err == nil:
		id = b.ID
	case !errors.As(err, &p):
		return err
	default:
		there := false
		if err := w.Store.View(func(tx *store.Tx) (err error) {
			_, there, err = tx.Notice(id)
			return err
		}); err != nil {
			return err
		}
		if !there {
			return p
		}
	}
	return w.started(c, store.RequestRetry, store.Request{Build: id})
}

func (w *Web) apiStart(c echo.Context) error {
	const shape = `send {"project": "...", "version": "...", "environmentVariablesOverride": [{"name": "...", "value": "..."}], "buildspecOverride": "..."}; all but the project may be left out`
	var r StartRequest
	in := json.NewDecoder(c.Request().Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&r); err != nil {
		return problem{http.StatusBadRequest, "", "the request is not understood: " + err.Error() + "; " + shape}
	}
	if r.Project == "" {
		return problem{http.StatusBadRequest, "", "no project is named; " + shape}
	}
	if err := w.Store.View(func(tx *store.Tx) (err error) {
		r.Project, err = projectNamed(tx, r.Project)
		return err
	}); err != nil {
		return err
	}
	variables, err := overrides(r.Variables)
	if err != nil {
		return problem{http.StatusBadRequest, "", err.Error()}
	}
	return w.started(c, store.RequestStart, store.Request{Project: r.Project, Version: r.Version, Variables: variables, Buildspec: r.Buildspec})
}

// overrides checks the variables that a build is started with.
func overrides(variables []Variable) ([]store.Variable, error) {
	var list []store.Variable
	for _, v := range variables {
		kind := v.Type
		if kind == "PLAINTEXT" {
			kind = ""
		}
		switch {
		case !store.ValidVariable(v.Name):
			return nil, fmt.Errorf("%q is no name of a variable, or is reserved", v.Name)
		case kind != "" && kind != store.ParameterStore && kind != store.SecretsManager:
			return nil, fmt.Errorf("the variable %s has the type %q; the types are PLAINTEXT, PARAMETER_STORE, SECRETS_MANAGER", v.Name, v.Type)
		}
		list = append(list, store.Variable{Name: v.Name, Value: v.Value, Type: kind})
	}
	return list, nil
}

// started asks for builds and answers with what came of it.
func (w *Web) started(c echo.Context, event string, r store.Request) error {
	unhurried(c, apiWait+patience)
	d, err := w.request(c.Request().Context(), event, r, apiWait)
	if err != nil {
		return err
	}
	answer := Started{append([]string{}, d.Builds...), d.Seq}
	switch {
	case d.Pending():
		return writeJSON(c, http.StatusAccepted, answer)
	case len(d.Builds) > 0:
		return writeJSON(c, http.StatusCreated, answer)
	}
	return problem{http.StatusConflict, "", reasonOf(d)}
}

func (w *Web) apiProjects(c echo.Context) error {
	answer := []Project{}
	if err := w.Store.View(func(tx *store.Tx) error {
		list, err := tx.Projects()
		for _, p := range list {
			badge, err := badgePath(tx, p)
			if err != nil {
				return err
			}
			answer = append(answer, Project{p.Name, p.Repo.Name, p.Repo.Forge, p.Repo.Private, p.Repo.DefaultBranch, p.Builds, w.base(c) + badge})
		}
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (w *Web) apiDeliveries(c echo.Context) error {
	before, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	answer := DeliveryList{Deliveries: []Delivery{}}
	if err := w.Store.View(func(tx *store.Tx) error {
		list, err := tx.Deliveries(before, limit+1)
		if len(list) > limit {
			list = list[:limit]
			answer.Next = list[limit-1].Seq
		}
		for _, d := range list {
			answer.Deliveries = append(answer.Deliveries, apiDelivery(d))
		}
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (w *Web) apiQueue(c echo.Context) error {
	var answer Queue
	if err := w.Store.View(func(tx *store.Tx) error {
		answer.Obstacle = tx.Obstacle()
		answer.Waiting, _ = tx.QueueLength()
		waiting, err := tx.Waiting(shownQueue)
		if err != nil {
			return err
		}
		running, err := tx.RunningBuilds()
		if err != nil {
			return err
		}
		builds := make([]store.Build, len(waiting))
		for i := range waiting {
			builds[i] = waiting[i].Build
		}
		if answer.Queued, err = w.shown(tx, c, builds, false); err != nil {
			return err
		}
		for i := range waiting {
			answer.Queued[i].WaitsFor = waitsFor(&waiting[i], answer.Obstacle, len(running))
		}
		answer.Running, err = w.shown(tx, c, running, false)
		return err
	}); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (w *Web) apiBackup(c echo.Context) error {
	if w.Backup == nil {
		return problem{http.StatusNotImplemented, "", "this server makes no backups"}
	}
	download(c, "buildsmith-"+w.Store.Now().Format("20060102-150405")+".backup")
	if c.Request().Method == http.MethodHead {
		return nil
	}
	out := patiently(c)
	defer out.end()
	return w.Backup(out)
}
