package githubtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"buildsmith/checks/forgetest"
)

// serveControl answers GET with what there is, and POST by doing something.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	forgetest.Control[*Server]{Acts: allActs(), Reads: controlReads}.Serve(s, w, r)
}

// act makes a control action of a function.
func act[T any](f func(*Server, T) (any, error)) func(*Server, []byte) (any, error) {
	return forgetest.Act(f)
}

// aPull names a pull request, or an issue.
type aPull struct {
	Repo   string `json:"repo"`
	Number int    `json:"number"`
}

// delivered is what an action says whose event was delivered.
func delivered(d Delivery, err error) (any, error) { return object{"delivery": d}, err }

func controlActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"repo": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			RepoOptions
		}) (any, error) {
			id, err := s.AddRepo(in.Repo, in.RepoOptions)
			return object{"id": id, "clone_url": s.CloneURL(in.Repo)}, err
		}),
		"fork": act(func(s *Server, in struct {
			Repo  string `json:"repo"`
			Owner string `json:"owner"`
		}) (any, error) {
			fork, err := s.AddFork(in.Repo, in.Owner)
			return object{"repo": fork, "clone_url": s.CloneURL(fork)}, err
		}),
		"delete-repo": act(func(s *Server, in aPull) (any, error) { return object{}, s.DeleteRepo(in.Repo) }),
		"rename-repo": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			Name string `json:"name"`
		}) (any, error) {
			return object{}, s.RenameRepo(in.Repo, in.Name)
		}),
		"private": act(func(s *Server, in struct {
			Repo    string `json:"repo"`
			Private bool   `json:"private"`
		}) (any, error) {
			return object{}, s.SetPrivate(in.Repo, in.Private)
		}),
		"user": act(func(s *Server, in struct {
			User string `json:"user"`
		}) (any, error) {
			return object{"user": in.User, "token": s.AddUser(in.User)}, nil
		}),
		"organization": act(func(s *Server, in struct {
			Organization string   `json:"organization"`
			Members      []string `json:"members"`
		}) (any, error) {
			s.AddOrganization(in.Organization, in.Members...)
			return object{}, nil
		}),
		"permission": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			User string `json:"user"`
			Role string `json:"role"`
		}) (any, error) {
			return object{}, s.SetPermission(in.Repo, in.User, in.Role)
		}),
		"suspend": act(func(s *Server, in struct {
			Account   string `json:"account"`
			Suspended bool   `json:"suspended"`
		}) (any, error) {
			s.Suspend(in.Account, in.Suspended)
			return object{}, nil
		}),
		"commit": act(func(s *Server, in struct {
			Repo   string `json:"repo"`
			Branch string `json:"branch"`
			Change
		}) (any, error) {
			sha, err := s.Commit(in.Repo, in.Branch, in.Change)
			return object{"sha": sha}, err
		}),
		"ref": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			Ref  string `json:"ref"`
			SHA  string `json:"sha"`
		}) (any, error) {
			return object{}, s.SetRef(in.Repo, in.Ref, in.SHA)
		}),
		"push": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			Ref  string `json:"ref"`
		}) (any, error) {
			return delivered(s.Push(in.Repo, in.Ref))
		}),
		"pull-request": act(func(s *Server, in struct {
			Repo string `json:"repo"`
			PullRequest
		}) (any, error) {
			number, d, err := s.OpenPullRequest(in.Repo, in.PullRequest)
			return object{"number": number, "delivery": d}, err
		}),
		"synchronize": act(func(s *Server, in aPull) (any, error) { return delivered(s.SynchronizePullRequest(in.Repo, in.Number)) }),
		"reopen":      act(func(s *Server, in aPull) (any, error) { return delivered(s.ReopenPullRequest(in.Repo, in.Number)) }),
		"close": act(func(s *Server, in struct {
			aPull
			Merge bool `json:"merge"`
		}) (any, error) {
			return delivered(s.ClosePullRequest(in.Repo, in.Number, in.Merge))
		}),
		"issue": act(func(s *Server, in struct {
			Repo  string `json:"repo"`
			User  string `json:"user"`
			Title string `json:"title"`
		}) (any, error) {
			number, err := s.OpenIssue(in.Repo, in.User, in.Title)
			return object{"number": number}, err
		}),
		"comment": act(func(s *Server, in struct {
			aPull
			User string `json:"user"`
			Body string `json:"body"`
		}) (any, error) {
			comment, d, err := s.Comment(in.Repo, in.Number, in.User, in.Body)
			return object{"comment": comment, "delivery": d}, err
		}),
		"rerequest": act(func(s *Server, in struct {
			CheckRun int64  `json:"check_run"`
			User     string `json:"user"`
		}) (any, error) {
			return delivered(s.Rerequest(in.CheckRun, in.User))
		}),
		"rerequest-suite": act(func(s *Server, in struct {
			Suite int64  `json:"suite"`
			User  string `json:"user"`
		}) (any, error) {
			return delivered(s.RerequestSuite(in.Suite, in.User))
		}),
		"request-action": act(func(s *Server, in struct {
			CheckRun   int64  `json:"check_run"`
			User       string `json:"user"`
			Identifier string `json:"identifier"`
		}) (any, error) {
			return delivered(s.RequestAction(in.CheckRun, in.User, in.Identifier))
		}),
		"ping": act(func(s *Server, _ object) (any, error) { return delivered(s.Ping()) }),
		"deliver": act(func(s *Server, in struct {
			Event   string          `json:"event"`
			Payload json.RawMessage `json:"payload"`
			DeliverOptions
		}) (any, error) {
			return delivered(s.Deliver(in.Event, in.Payload, in.DeliverOptions))
		}),
		"replay": act(func(s *Server, in struct {
			GUID string `json:"guid"`
			As   string `json:"as"`
		}) (any, error) {
			for _, d := range s.Deliveries() {
				if d.GUID == in.GUID {
					return delivered(s.Deliver(d.Event, d.Payload, DeliverOptions{GUID: cmp.Or(in.As, d.GUID)}))
				}
			}
			return nil, fmt.Errorf("there is no delivery %q", in.GUID)
		}),
		"hook": act(func(s *Server, in struct {
			URL string `json:"url"`
		}) (any, error) {
			s.SetHook(in.URL)
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
		"expire": act(func(s *Server, _ object) (any, error) {
			s.Expire()
			return object{}, nil
		}),
	}
}

// controlReads are what GET shows.
var controlReads = map[string]func(*Server, context.Context, url.Values) (any, error){
	"app": func(s *Server, _ context.Context, _ url.Values) (any, error) {
		return object{"url": s.URL(), "app_id": s.AppID(), "webhook_secret": s.WebhookSecret(), "private_key": string(s.PEM())}, nil
	},
	"check-runs": func(s *Server, ctx context.Context, q url.Values) (any, error) { return s.awaitRuns(ctx, q) },
	"comments": func(s *Server, _ context.Context, q url.Values) (any, error) {
		type reacted struct {
			Comment
			Reactions []Reaction `json:"reactions"`
		}
		number, err := strconv.Atoi(q.Get("number"))
		list := []reacted{}
		for _, comment := range s.Comments(q.Get("repo"), number) {
			list = append(list, reacted{comment, forgetest.ListOf(s.Reactions(comment.ID))})
		}
		return list, err
	},
	"reactions": func(s *Server, _ context.Context, q url.Values) (any, error) {
		id, err := strconv.ParseInt(q.Get("comment"), 10, 64)
		return forgetest.ListOf(s.Reactions(id)), err
	},
	"statuses": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.Statuses(q.Get("repo"), q.Get("sha"))), nil
	},
	"deployments": func(s *Server, _ context.Context, q url.Values) (any, error) {
		return forgetest.ListOf(s.Deployments(q.Get("repo"))), nil
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

// awaitRuns lists the check runs of a commit, or those of one name. With wait, it waits for as long until there are some
// and all are completed.
func (s *Server) awaitRuns(ctx context.Context, q url.Values) (any, error) {
	list := func() []CheckRun {
		runs := forgetest.ListOf(s.CheckRuns(q.Get("repo"), q.Get("sha")))
		return slices.DeleteFunc(runs, func(run CheckRun) bool { return q.Has("name") && run.Name != q.Get("name") })
	}
	if !q.Has("wait") {
		return list(), nil
	}
	wait, err := time.ParseDuration(q.Get("wait"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = s.Await(ctx, func() bool {
		runs := list()
		return len(runs) > 0 && !slices.ContainsFunc(runs, func(run CheckRun) bool { return !Completed(run) })
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for check runs that are completed: %w", err)
	}
	return list(), nil
}
