package bitbuckettest

import (
	"net/http"
	"slices"
	"strings"
)

func cloudHookOperations() []operation {
	return []operation{
		{method: "GET", path: inRepo + "/hooks", scope: "webhook", run: (*Server).cloudHooks},
		{method: "POST", path: inRepo + "/hooks", scope: "webhook:change", run: (*Server).cloudAddHook, rule: hookRule},
		{method: "GET", path: inRepo + "/hooks/{uid}", scope: "webhook", run: (*Server).cloudHook},
		{method: "PUT", path: inRepo + "/hooks/{uid}", scope: "webhook:change", run: (*Server).cloudEditHook, rule: hookRule},
		{method: "DELETE", path: inRepo + "/hooks/{uid}", scope: "webhook:delete", run: (*Server).cloudDeleteHook},
	}
}

func hookRule(body any) []string {
	o, _ := body.(object)
	return addressRule(o, "url")
}

// cloudHooks is GET of the hooks of a repository.
func (s *Server) cloudHooks(c *call) *answer {
	var list []*Hook
	for _, h := range s.hooks {
		if h.repo == c.repo {
			list = append(list, h)
		}
	}
	return cloudPage(s, c, 100, list, s.cloudHookJSON)
}

// A cloudHookBody is what is sent for a hook.
type cloudHookBody struct {
	Description, URL, Secret *string
	Active                   *bool
	Events                   []string
}

// into changes what is given.
func (in cloudHookBody) into(h *Hook) {
	for to, from := range map[*string]*string{&h.Name: in.Description, &h.URL: in.URL, &h.Secret: in.Secret} {
		if from != nil {
			*to = *from
		}
	}
	if in.Active != nil {
		h.Active = *in.Active
	}
	if in.Events != nil {
		h.Events = in.Events
	}
}

// readHook reads a hook, for whose events the token must have the scopes.
func readHook(s *Server, c *call) (in cloudHookBody, refused *answer) {
	if err := c.decode(&in); err != nil {
		return in, cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	for _, e := range in.Events {
		scope := "repository"
		if strings.HasPrefix(e, "pullrequest:") {
			scope = "pullrequest"
		}
		if refused := s.flavor.authorize(s, c.token, &operation{method: http.MethodGet, scope: scope}, c.repo); refused != nil {
			return in, refused
		}
	}
	return in, nil
}

func (s *Server) cloudAddHook(c *call) *answer {
	in, refused := readHook(s, c)
	if refused != nil {
		return refused
	}
	var h Hook
	in.into(&h)
	return made(s.cloudHookJSON(s.addHookLocked(c.repo, h)))
}

// theHook finds the hook that a path names.
func (s *Server) theHook(c *call) (*Hook, *answer) {
	uid := strings.Trim(c.params["uid"], "{}")
	i := slices.IndexFunc(s.hooks, func(h *Hook) bool { return h.repo == c.repo && strings.EqualFold(h.UUID, uid) })
	if i < 0 {
		return nil, notFound("%s does not exist", c.params["uid"])
	}
	return s.hooks[i], nil
}

func (s *Server) cloudHook(c *call) *answer {
	h, missing := s.theHook(c)
	if missing != nil {
		return missing
	}
	return ok(s.cloudHookJSON(h))
}

func (s *Server) cloudEditHook(c *call) *answer {
	h, refused := s.theHook(c)
	if refused != nil {
		return refused
	}
	in, refused := readHook(s, c)
	if refused != nil {
		return refused
	}
	in.into(h)
	h.Updated = s.now()
	s.wakeLocked()
	return ok(s.cloudHookJSON(h))
}

func (s *Server) cloudDeleteHook(c *call) *answer {
	h, missing := s.theHook(c)
	if missing != nil {
		return missing
	}
	s.removeHookLocked(h)
	return nothing()
}
