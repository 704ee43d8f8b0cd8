package githubtest

import (
	"net/http"
	"testing"

	"github.com/google/go-github/v60/github"
)

// TestInstallationEvents lets the app be installed, changed, suspended and removed.
func TestInstallationEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	must[int64](t)(s.AddRepo("acme/site", RepoOptions{NotInstalled: true}))
	must[int64](t)(s.AddRepo("acme/shop", RepoOptions{NotInstalled: true, Private: true}))
	p := b.delivered1(t, "installation")(s.Install("acme", "acme/site"))
	id := s.Installation("acme")
	expect(t, p, map[string]any{"action": "created", "installation.id": id, "installation.account.login": "acme", "installation.app_id": 4711,
		"repositories.0.full_name": "acme/site", "repositories.1": nil, "installation.suspended_at": nil, "sender.login": "acme"})
	for _, wrong := range [][]string{{"acme"}, {"nobody"}, {"octo", "acme/site"}} {
		if _, err := s.Install(wrong[0], wrong[1:]...); err == nil {
			t.Errorf("it was installed at %q", wrong)
		}
	}
	_, acme, _ := s.clients(id)
	sees := func(name string) bool {
		t.Helper()
		_, _, err := acme.Repositories.Get(t.Context(), "acme", name)
		return err == nil
	}
	if !sees("site") || sees("shop") {
		t.Error("the app does not see what it was installed in, or more")
	}
	p = b.delivered1(t, "installation_repositories")(s.AddToInstallation("acme", "acme/shop"))
	expect(t, p, map[string]any{"action": "added", "repositories_added.0.full_name": "acme/shop", "repositories_added.0.private": true, "repositories_removed": "[]"})
	p = b.delivered1(t, "installation_repositories")(s.RemoveFromInstallation("acme", "acme/site"))
	expect(t, p, map[string]any{"action": "removed", "repositories_removed.0.name": "site", "repositories_added": "[]"})
	if sees("site") || !sees("shop") {
		t.Error("the app does not see what was added, or what was removed")
	}
	for _, wrong := range []string{"acme/shop", "octo/shop", "acme/none"} {
		if _, err := s.AddToInstallation("acme", wrong); err == nil {
			t.Errorf("%s was added", wrong)
		}
	}
	if _, err := s.RemoveFromInstallation("acme"); err == nil {
		t.Error("nothing was removed")
	}

	p = b.delivered1(t, "installation")(s.SetSuspended("acme", true))
	expect(t, p, map[string]any{"action": "suspend", "installation.suspended_by.login": "acme"})
	if _, _, err := s.app.Apps.CreateInstallationToken(t.Context(), id, nil); status(err) != http.StatusForbidden {
		t.Errorf("a token while suspended: %v", err)
	}
	if _, _, err := acme.Repositories.Get(t.Context(), "acme", "shop"); status(err) != http.StatusForbidden {
		t.Errorf("an earlier token while suspended: %v", err)
	}
	count := b.count()
	if d, err := s.SetVisibility("acme/shop", false); err != nil || d.GUID != "" || b.count() != count {
		t.Errorf("the app was told of something while suspended: %+v %v", d, err)
	}
	if _, err := s.SetSuspended("acme", true); err == nil {
		t.Error("it was suspended twice")
	}
	p = b.delivered1(t, "installation")(s.SetSuspended("acme", false))
	expect(t, p, map[string]any{"action": "unsuspend", "installation.suspended_at": nil})

	p = b.delivered1(t, "installation")(s.AcceptPermissions("acme", with2(DefaultPermissions, "actions", "read")))
	expect(t, p, map[string]any{"action": "new_permissions_accepted", "installation.permissions.actions": "read"})
	token, _, err := s.app.Apps.CreateInstallationToken(t.Context(), id, &github.InstallationTokenOptions{Permissions: &github.InstallationPermissions{Actions: str("read")}})
	if err != nil || token.GetPermissions().GetActions() != "read" {
		t.Errorf("a token with the new permission: %v %v", token, err)
	}

	p = b.delivered1(t, "installation")(s.RemoveInstallation("acme"))
	expect(t, p, map[string]any{"action": "deleted", "installation.id": id, "repositories.0.full_name": "acme/shop"})
	if s.Installation("acme") != 0 {
		t.Error("it is still installed")
	}
	for _, err := range []error{second(s.RemoveInstallation("acme")), second(s.SetSuspended("acme", true)), second(s.AcceptPermissions("acme", nil)),
		second(s.AddToInstallation("acme", "acme/site")), second(s.RenameAccount("acme", "x"))} {
		if err == nil {
			t.Error("something was done with an installation that is gone")
		}
	}
}

func second(_ Delivery, err error) error { return err }

// with2 is a copy of permissions with one more.
func with2(permissions map[string]string, name, level string) map[string]string {
	more := map[string]string{name: level}
	for n, l := range permissions {
		more[n] = l
	}
	return more
}

func TestAccountRenamed(t *testing.T) {
	for kind, organization := range map[string]bool{"User": false, "Organization": true} {
		t.Run(kind, func(t *testing.T) {
			s, b := newShop(t, Options{}), newBot(t)
			s.AddUser("mona")
			if organization {
				s.AddOrganization("octo", "mona")
			}
			s.commit("feature", map[string]string{"x": "1"})
			number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Comment(shopRepo, number, "octo", "hello"); err != nil {
				t.Fatal(err)
			}
			s.SetHook(b.url)
			p := b.delivered1(t, "installation_target")(s.RenameAccount("octo", "hexa"))
			expect(t, p, map[string]any{"action": "renamed", "account.login": "hexa", "changes.login.from": "octo", "installation.id": s.Installation("hexa"),
				"target_type": kind})
			for _, owner := range []string{"octo", "hexa"} {
				got := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), owner, "shop")))
				if got.GetFullName() != "hexa/shop" || got.GetOwner().GetLogin() != "hexa" {
					t.Errorf("%s/shop is %s", owner, got.GetFullName())
				}
			}
			level := must[*github.RepositoryPermissionLevel](t)(first(s.inst.Repositories.GetPermissionLevel(t.Context(), "hexa", "shop", "hexa")))
			if level.GetPermission() != "admin" {
				t.Errorf("the owner may %s", level.GetPermission())
			}
			pull := must[*github.PullRequest](t)(first(s.inst.PullRequests.Get(t.Context(), "hexa", "shop", number)))
			if pull.GetUser().GetLogin() != "hexa" || pull.GetHead().GetLabel() != "hexa:feature" {
				t.Errorf("the pull request is of %s, from %s", pull.GetUser().GetLogin(), pull.GetHead().GetLabel())
			}
			if list := s.Comments("hexa/shop", number); len(list) != 1 || list[0].User != "hexa" {
				t.Errorf("the comments are %+v", list)
			}
			if _, err := s.RenameAccount("hexa", "mona"); err == nil {
				t.Error("it was renamed to somebody else")
			}
		})
	}
}
