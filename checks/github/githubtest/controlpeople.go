package githubtest

import (
	"maps"

	"buildsmith/checks/forgetest"
)

// allActs are all that POST does.
func allActs() map[string]func(*Server, []byte) (any, error) {
	acts := controlActs()
	for _, more := range []map[string]func(*Server, []byte) (any, error){repoActs(), pullActs(), accountActs(), chaosActs()} {
		maps.Copy(acts, more)
	}
	return acts
}

// deliveredAll is what an action says whose events were delivered.
func deliveredAll(list []Delivery, err error) (any, error) {
	return object{"deliveries": forgetest.ListOf(list)}, err
}

// aRepo names a repository.
type aRepo struct {
	Repo string `json:"repo"`
}

// repoActs are what people do with repositories.
func repoActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"rename": act(func(s *Server, in struct {
			aRepo
			Name string `json:"name"`
		}) (any, error) {
			return delivered(s.Rename(in.Repo, in.Name))
		}),
		"transfer": act(func(s *Server, in struct {
			aRepo
			Owner string `json:"owner"`
		}) (any, error) {
			return delivered(s.Transfer(in.Repo, in.Owner))
		}),
		"archive": act(func(s *Server, in struct {
			aRepo
			Archived bool `json:"archived"`
		}) (any, error) {
			return delivered(s.SetArchived(in.Repo, in.Archived))
		}),
		"visibility": act(func(s *Server, in struct {
			aRepo
			Private bool `json:"private"`
		}) (any, error) {
			return delivered(s.SetVisibility(in.Repo, in.Private))
		}),
		"delete": act(func(s *Server, in aRepo) (any, error) { return delivered(s.Delete(in.Repo)) }),
		"delete-branch": act(func(s *Server, in struct {
			aRepo
			Branch string `json:"branch"`
		}) (any, error) {
			return delivered(s.DeleteBranch(in.Repo, in.Branch))
		}),
		"delete-tag": act(func(s *Server, in struct {
			aRepo
			Tag string `json:"tag"`
		}) (any, error) {
			return delivered(s.DeleteTag(in.Repo, in.Tag))
		}),
		"force-push": act(func(s *Server, in struct {
			aRepo
			Branch string `json:"branch"`
			SHA    string `json:"sha"`
		}) (any, error) {
			return delivered(s.ForcePush(in.Repo, in.Branch, in.SHA))
		}),
		"release": act(func(s *Server, in struct {
			aRepo
			Tag        string `json:"tag"`
			Name       string `json:"name"`
			Prerelease bool   `json:"prerelease"`
		}) (any, error) {
			return deliveredAll(s.Release(in.Repo, in.Tag, in.Name, in.Prerelease))
		}),
		"role": act(func(s *Server, in struct {
			Role string `json:"role"`
			Base string `json:"base"`
		}) (any, error) {
			return object{}, s.DefineRole(in.Role, in.Base)
		}),
	}
}

// pullActs are what people do with pull requests.
func pullActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"merge-group": act(func(s *Server, in struct {
			aRepo
			Branch string `json:"branch"`
			Pulls  []int  `json:"pulls"`
		}) (any, error) {
			g, list, err := s.MergeGroup(in.Repo, in.Branch, in.Pulls...)
			return object{"merge_group": g, "sha": g.HeadSHA, "deliveries": forgetest.ListOf(list)}, err
		}),
		"destroy-merge-group": act(func(s *Server, in struct {
			aRepo
			Ref    string `json:"ref"`
			Reason string `json:"reason"`
		}) (any, error) {
			return deliveredAll(s.DestroyMergeGroup(in.Repo, in.Ref, in.Reason))
		}),
		"base": act(func(s *Server, in struct {
			aPull
			Base string `json:"base"`
		}) (any, error) {
			return delivered(s.ChangeBase(in.Repo, in.Number, in.Base))
		}),
		"retitle": act(func(s *Server, in struct {
			aPull
			Title string `json:"title"`
		}) (any, error) {
			return delivered(s.Retitle(in.Repo, in.Number, in.Title))
		}),
		"label": act(func(s *Server, in struct {
			aPull
			User  string `json:"user"`
			Label string `json:"label"`
		}) (any, error) {
			return delivered(s.Label(in.Repo, in.Number, in.User, in.Label))
		}),
		"unlabel": act(func(s *Server, in struct {
			aPull
			User  string `json:"user"`
			Label string `json:"label"`
		}) (any, error) {
			return delivered(s.Unlabel(in.Repo, in.Number, in.User, in.Label))
		}),
		"draft": act(func(s *Server, in struct {
			aPull
			Draft bool `json:"draft"`
		}) (any, error) {
			return delivered(s.SetDraft(in.Repo, in.Number, in.Draft))
		}),
		"edit-comment": act(func(s *Server, in struct {
			Comment int64  `json:"comment"`
			User    string `json:"user"`
			Body    string `json:"body"`
		}) (any, error) {
			return delivered(s.EditComment(in.Comment, in.User, in.Body))
		}),
		"delete-comment": act(func(s *Server, in struct {
			Comment int64  `json:"comment"`
			User    string `json:"user"`
		}) (any, error) {
			return delivered(s.DeleteComment(in.Comment, in.User))
		}),
	}
}

// anAccount names an account where the app is, and repositories of it.
type anAccount struct {
	Account      string   `json:"account"`
	Repositories []string `json:"repositories"`
}

// accountActs are what people do with the installation of the app at their account.
func accountActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"install": act(func(s *Server, in anAccount) (any, error) {
			return delivered(s.Install(in.Account, in.Repositories...))
		}),
		"uninstall": act(func(s *Server, in anAccount) (any, error) { return delivered(s.RemoveInstallation(in.Account)) }),
		"suspension": act(func(s *Server, in struct {
			anAccount
			Suspended bool `json:"suspended"`
		}) (any, error) {
			return delivered(s.SetSuspended(in.Account, in.Suspended))
		}),
		"accept-permissions": act(func(s *Server, in struct {
			anAccount
			Permissions map[string]string `json:"permissions"`
		}) (any, error) {
			return delivered(s.AcceptPermissions(in.Account, in.Permissions))
		}),
		"add-repositories": act(func(s *Server, in anAccount) (any, error) {
			return delivered(s.AddToInstallation(in.Account, in.Repositories...))
		}),
		"remove-repositories": act(func(s *Server, in anAccount) (any, error) {
			return delivered(s.RemoveFromInstallation(in.Account, in.Repositories...))
		}),
		"rename-account": act(func(s *Server, in struct {
			anAccount
			Login string `json:"login"`
		}) (any, error) {
			return delivered(s.RenameAccount(in.Account, in.Login))
		}),
	}
}
