package bitbuckettest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

type acts = map[string]func(*Server, []byte) (any, error)

func act[T any](f func(*Server, T) (any, error)) func(*Server, []byte) (any, error) {
	return forgetest.Act(f)
}

// aRepo names a repository.
type aRepo struct {
	Repo string `json:"repo"`
}

// aPull names a pull request.
type aPull struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
}

// told is what an action says whose event was delivered.
func told(d Delivery, err error) (any, error) { return object{"delivery": d}, err }

// controlActs are all that POST does.
func controlActs() acts {
	all := repoActs()
	for _, more := range []acts{pullActs(), hookActs(), accountActs(), dataCenterActs()} {
		maps.Copy(all, more)
	}
	return all
}

// repoActs are what people do with repositories.
func repoActs() acts {
	return acts{
		"repo": act(func(s *Server, in struct {
			aRepo
			RepoOptions
		}) (any, error) {
			r, err := s.AddRepo(in.Repo, in.RepoOptions)
			return object{"id": r.ID, "uuid": r.UUID, "repo": r.Name, "clone_url": s.CloneURL(in.Repo)}, err
		}),
		"fork": act(func(s *Server, in struct {
			aRepo
			Owner string `json:"owner"`
		}) (any, error) {
			fork, err := s.AddFork(in.Repo, in.Owner)
			return object{"repo": fork, "clone_url": s.CloneURL(fork)}, err
		}),
		"fork-gone": act(func(s *Server, in aPull) (any, error) { return object{}, s.DeleteFork(in.Repo, in.Number) }),
		"rename": act(func(s *Server, in struct {
			aRepo
			Name string `json:"name"`
		}) (any, error) {
			return told(s.Rename(in.Repo, in.Name))
		}),
		"visibility": act(func(s *Server, in struct {
			aRepo
			Private bool `json:"private"`
		}) (any, error) {
			return told(s.SetVisibility(in.Repo, in.Private))
		}),
		"delete": act(func(s *Server, in aRepo) (any, error) { return told(s.Delete(in.Repo)) }),
		"commit": act(func(s *Server, in struct {
			aRepo
			Branch string `json:"branch"`
			Change
		}) (any, error) {
			sha, err := s.Commit(in.Repo, in.Branch, in.Change)
			return object{"sha": sha}, err
		}),
		"ref": act(func(s *Server, in struct {
			aRepo
			Ref string `json:"ref"`
			SHA string `json:"sha"`
		}) (any, error) {
			return object{}, s.SetRef(in.Repo, in.Ref, in.SHA)
		}),
		"push": act(func(s *Server, in struct {
			aRepo
			Ref  string   `json:"ref"`
			Refs []string `json:"refs"`
		}) (any, error) {
			if in.Ref != "" {
				in.Refs = append(in.Refs, in.Ref)
			}
			return told(s.Push(in.Repo, in.Refs...))
		}),
		"delete-branch": act(func(s *Server, in struct {
			aRepo
			Branch string `json:"branch"`
		}) (any, error) {
			return told(s.DeleteBranch(in.Repo, in.Branch))
		}),
		"delete-tag": act(func(s *Server, in struct {
			aRepo
			Tag string `json:"tag"`
		}) (any, error) {
			return told(s.DeleteTag(in.Repo, in.Tag))
		}),
	}
}

// pullActs are what people do with pull requests.
func pullActs() acts {
	return acts{
		"pull-request": act(func(s *Server, in struct {
			aRepo
			PullRequest
		}) (any, error) {
			number, d, err := s.OpenPullRequest(in.Repo, in.PullRequest)
			return object{"number": number, "delivery": d}, err
		}),
		"synchronize": act(func(s *Server, in aPull) (any, error) { return told(s.SynchronizePullRequest(in.Repo, in.Number)) }),
		"reopen":      act(func(s *Server, in aPull) (any, error) { return told(s.ReopenPullRequest(in.Repo, in.Number)) }),
		"close": act(func(s *Server, in struct {
			aPull
			Merge bool `json:"merge"`
		}) (any, error) {
			return told(s.ClosePullRequest(in.Repo, in.Number, in.Merge))
		}),
		"base": act(func(s *Server, in struct {
			aPull
			Base string `json:"base"`
		}) (any, error) {
			return told(s.ChangeBase(in.Repo, in.Number, in.Base))
		}),
		"retitle": act(func(s *Server, in struct {
			aPull
			Title string `json:"title"`
		}) (any, error) {
			return told(s.Retitle(in.Repo, in.Number, in.Title))
		}),
		"draft": act(func(s *Server, in struct {
			aPull
			Draft bool `json:"draft"`
		}) (any, error) {
			return told(s.SetDraft(in.Repo, in.Number, in.Draft))
		}),
		"comment": act(func(s *Server, in struct {
			aPull
			User   string `json:"user"`
			Body   string `json:"body"`
			Parent int64  `json:"parent"`
		}) (any, error) {
			comment, d, err := s.ReplyTo(in.Repo, in.Number, in.Parent, in.User, in.Body)
			return object{"comment": comment, "delivery": d}, err
		}),
		"edit-comment": act(func(s *Server, in struct {
			Comment int64  `json:"comment"`
			User    string `json:"user"`
			Body    string `json:"body"`
		}) (any, error) {
			return told(s.EditComment(in.Comment, in.User, in.Body))
		}),
		"delete-comment": act(func(s *Server, in struct {
			Comment int64  `json:"comment"`
			User    string `json:"user"`
		}) (any, error) {
			return told(s.DeleteComment(in.Comment, in.User))
		}),
	}
}

// hookActs are about deliveries and about what goes wrong.
func hookActs() acts {
	return acts{
		"add-hook": act(func(s *Server, in struct {
			Hook
			Repo string `json:"repo"`
		}) (any, error) {
			in.Active = true
			h, err := s.AddHook(in.Repo, in.Hook)
			return object{"hook": h}, err
		}),
		"hook": act(func(s *Server, in struct {
			URL string `json:"url"`
		}) (any, error) {
			s.SetHook(in.URL)
			return object{}, nil
		}),
		"ping": act(func(s *Server, in aRepo) (any, error) { return told(s.Ping(in.Repo)) }),
		"deliver": act(func(s *Server, in struct {
			aRepo
			Event   string          `json:"event"`
			Payload json.RawMessage `json:"payload"`
			DeliverOptions
		}) (any, error) {
			return told(s.Deliver(in.Repo, in.Event, in.Payload, in.DeliverOptions))
		}),
		"replay": act(func(s *Server, in struct {
			GUID string `json:"guid"`
			As   string `json:"as"`
		}) (any, error) {
			for _, d := range s.Deliveries() {
				if d.GUID == in.GUID {
					return told(s.Deliver(d.Repository, d.Event, d.Payload, DeliverOptions{GUID: cmp.Or(in.As, d.GUID)}))
				}
			}
			return nil, fmt.Errorf("there is no delivery %q", in.GUID)
		}),
		"lose": act(func(s *Server, in struct {
			Count int `json:"count"`
		}) (any, error) {
			s.Lose(in.Count)
			return object{}, nil
		}),
		"fault": act(func(s *Server, in forgetest.FaultAct) (any, error) {
			f, err := in.Read()
			if err != nil {
				return nil, err
			}
			return object{}, s.Inject(f)
		}),
		"clear-faults": act(func(s *Server, _ object) (any, error) { return object{"cleared": s.ClearFaults()}, nil }),
		"chaos": act(func(s *Server, in forgetest.ChaosAct) (any, error) {
			c, err := in.Read()
			if err != nil {
				return nil, err
			}
			return object{}, s.SetChaos(c)
		}),
	}
}

// accountActs are about users and tokens.
func accountActs() acts {
	return acts{
		"user": act(func(s *Server, in struct {
			User string `json:"user"`
		}) (any, error) {
			u := s.AddUser(in.User)
			return object{"user": u.Name, "token": u.Password, "account": u}, nil
		}),
		"permission": act(func(s *Server, in struct {
			aRepo
			Project string `json:"project"`
			User    string `json:"user"`
			Group   string `json:"group"`
			Role    string `json:"role"`
		}) (any, error) {
			switch {
			case in.Project != "" && in.Group != "":
				return object{}, s.SetProjectGroupPermission(in.Project, in.Group, in.Role)
			case in.Project != "":
				return object{}, s.SetProjectPermission(in.Project, in.User, in.Role)
			case in.Group != "":
				return object{}, s.SetGroupPermission(in.Repo, in.Group, in.Role)
			}
			return object{}, s.SetPermission(in.Repo, in.User, in.Role)
		}),
		"group": act(func(s *Server, in struct {
			Group   string   `json:"group"`
			Members []string `json:"members"`
		}) (any, error) {
			s.SetGroup(in.Group, in.Members...)
			return object{}, nil
		}),
		"token": act(func(s *Server, in struct {
			TokenOptions
			Scopes any `json:"scopes"` // a list, or a text with spaces
		}) (any, error) {
			switch scopes := in.Scopes.(type) {
			case string:
				in.TokenOptions.Scopes = strings.Fields(scopes)
			case []any:
				in.TokenOptions.Scopes = []string{}
				for _, one := range scopes {
					in.TokenOptions.Scopes = append(in.TokenOptions.Scopes, fmt.Sprint(one))
				}
			}
			t, err := s.AddToken(in.TokenOptions)
			if t.Key != "" {
				return object{"key": t.Key, "secret": t.Value, "user": t.User}, err
			}
			return object{"token": t.Value, "user": t.User, "email": t.Email}, err
		}),
		"revoke": act(func(s *Server, in struct {
			Token string `json:"token"`
		}) (any, error) {
			return object{}, s.Revoke(in.Token)
		}),
		"expire": act(func(s *Server, in struct {
			Token string `json:"token"`
		}) (any, error) {
			if in.Token != "" {
				s.Expire(in.Token)
			} else {
				s.Expire()
			}
			return object{}, nil
		}),
	}
}

// controlReads are what GET shows.
var controlReads = map[string]func(*Server, context.Context, url.Values) (any, error){
	"app": func(s *Server, _ context.Context, _ url.Values) (any, error) { return s.app(), nil },
	"statuses": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.Statuses(q.Get("repo"), q.Get("sha"))), nil
	},
	"states": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.States(q.Get("repo"), q.Get("sha"))), nil
	},
	"reports": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.Reports(q.Get("repo"), q.Get("sha"))), nil
	},
	"annotations": func(s *Server, _ context.Context, q url.Values) (any, error) {
		list := []Annotation{}
		for _, r := range s.Reports(q.Get("repo"), q.Get("sha")) {
			if !q.Has("report") || r.ID == q.Get("report") {
				list = append(list, r.Annotations...)
			}
		}
		return list, nil
	},
	"comments": func(s *Server, _ context.Context, q url.Values) (any, error) {
		number, err := strconv.Atoi(q.Get("number"))
		return forgetest.ListOf(s.Comments(q.Get("repo"), number)), err
	},
	"hooks": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.Hooks(q.Get("repo"))), nil
	},
	"tokens": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.Tokens()), nil
	},
	"requests": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.Requests()), nil
	},
	"git": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.GitAccesses()), nil
	},
	"deliveries": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.Deliveries()), nil
	},
	"mishaps": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.Mishaps()), nil
	},
	"violations": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return forgetest.ListOf(s.Violations()), nil
	},
}

// app is what a bot has to know, with the first token that was made.
func (s *Server) app() object {
	o := object{"url": s.url, "flavor": s.name, "api": s.url + s.flavor.base(), "web": s.WebURL()}
	if tokens := s.Tokens(); len(tokens) > 0 {
		o["token"], o["kind"], o["user"] = tokens[0].Value, tokens[0].Kind, tokens[0].User
	}
	return o
}
