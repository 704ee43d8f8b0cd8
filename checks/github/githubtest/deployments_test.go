package githubtest

import (
	"net/http"
	"testing"

	"github.com/google/go-github/v60/github"
)

// TestDeployments makes a deployment with go-github and reads it back.
func TestDeployments(t *testing.T) {
	s := newShop(t, Options{})
	client, sha := s.inst, s.sha
	ctx := t.Context()
	wrong := &github.DeploymentRequest{Ref: &sha}
	if _, answer, err := client.Repositories.CreateDeployment(ctx, "octo", "shop", wrong); err == nil || answer.StatusCode != http.StatusConflict {
		t.Errorf("with the defaults: %v", err)
	}
	no := false
	d, _, err := client.Repositories.CreateDeployment(ctx, "octo", "shop", &github.DeploymentRequest{Ref: &sha, AutoMerge: &no, RequiredContexts: &[]string{},
		Environment: github.String("staging"), Payload: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Repositories.CreateDeploymentStatus(ctx, "octo", "shop", d.GetID(), &github.DeploymentStatusRequest{State: github.String("success"),
		LogURL: github.String("https://ci.example.org/1")}); err != nil {
		t.Fatal(err)
	}
	list, _, err := client.Repositories.ListDeployments(ctx, "octo", "shop", &github.DeploymentsListOptions{SHA: sha, Environment: "staging"})
	if err != nil || len(list) != 1 || list[0].GetID() != d.GetID() || string(list[0].Payload) != `{"a":"b"}` {
		t.Errorf("%+v %v", list, err)
	}
	if list, _, err = client.Repositories.ListDeployments(ctx, "octo", "shop", &github.DeploymentsListOptions{Environment: "production"}); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	statuses, _, err := client.Repositories.ListDeploymentStatuses(ctx, "octo", "shop", d.GetID(), nil)
	if err != nil || len(statuses) != 1 || statuses[0].GetState() != "success" || statuses[0].GetLogURL() != "https://ci.example.org/1" {
		t.Errorf("%+v %v", statuses, err)
	}
	if kept := s.Deployments("octo/shop"); len(kept) != 1 || kept[0].SHA != sha || len(kept[0].Statuses) != 1 {
		t.Errorf("%+v", kept)
	}
}
