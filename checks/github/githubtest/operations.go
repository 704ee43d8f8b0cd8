package githubtest

import "net/http"

// An operation is something of the API that the server does: what GitHub's description calls it, who may do it, and how.
// The description is cut to these.
type operation struct {
	method, path string
	access       access
	permission   string // of the token, in the repository; see authorizeLocked
	run          func(*Server, *call) *answer
}

// The parts that most paths begin with.
const (
	inRepo     = "/repos/{owner}/{repo}"
	aComment   = inRepo + "/issues/comments/{comment_id}"
	aRun       = inRepo + "/check-runs/{check_run_id}"
	aSuite     = inRepo + "/check-suites/{check_suite_id}"
	aDelivery  = "/app/hook/deliveries/{delivery_id}"
	eitherRead = "issues:read pull_requests:read" // the handler looks closer
	eitherMore = "issues:write pull_requests:write"
)

func operations() []operation {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []operation{
		{get, "/app", byApp, "", (*Server).getApp},
		{post, "/app-manifests/{code}/conversions", byAnyone, "", (*Server).convertManifest},
		{get, "/app/installations", byApp, "", (*Server).listInstallations},
		{get, "/app/installations/{installation_id}", byApp, "", (*Server).getInstallation},
		{post, "/app/installations/{installation_id}/access_tokens", byApp, "", (*Server).createToken},
		{get, "/app/hook/config", byApp, "", (*Server).getHookConfig},
		{patch, "/app/hook/config", byApp, "", (*Server).setHookConfig},
		{get, "/app/hook/deliveries", byApp, "", (*Server).listDeliveries},
		{get, aDelivery, byApp, "", (*Server).getDelivery},
		{post, aDelivery + "/attempts", byApp, "", (*Server).redeliver},
		{get, "/installation/repositories", byToken, "metadata:read", (*Server).listRepos},
		{del, "/installation/token", byToken, "", (*Server).revokeToken},
		{get, "/rate_limit", byAnyone, "", (*Server).getRateLimit},
		{get, "/orgs/{org}/members/{username}", byToken, "members:read", (*Server).getMember},
		{get, inRepo, byToken, "metadata:read", (*Server).getRepo},
		{get, inRepo + "/installation", byApp, "", (*Server).getRepoInstallation},
		{get, inRepo + "/collaborators/{username}/permission", byToken, "metadata:read", (*Server).getPermission},
		{get, inRepo + "/contents/{path}", byToken, "contents:read", (*Server).getContents},
		{get, inRepo + "/compare/{basehead}", byToken, "contents:read", (*Server).compare},
		{get, inRepo + "/commits/{ref}", byToken, "contents:read", (*Server).getCommit},
		{get, inRepo + "/commits/{ref}/check-runs", byToken, "checks:read", (*Server).listCommitRuns},
		{get, inRepo + "/commits/{ref}/check-suites", byToken, "checks:read", (*Server).listSuites},
		{get, inRepo + "/commits/{ref}/statuses", byToken, "statuses:read", (*Server).listStatuses},
		{get, inRepo + "/commits/{commit_sha}/branches-where-head", byToken, "contents:read", (*Server).listHeads},
		{get, inRepo + "/commits/{commit_sha}/pulls", byToken, "pull_requests:read", (*Server).listCommitPulls},
		{post, inRepo + "/statuses/{sha}", byToken, "statuses:write", (*Server).createStatus},
		{get, inRepo + "/deployments", byToken, "deployments:read", (*Server).listDeployments},
		{post, inRepo + "/deployments", byToken, "deployments:write", (*Server).createDeployment},
		{get, inRepo + "/deployments/{deployment_id}/statuses", byToken, "deployments:read", (*Server).listDeploymentStatuses},
		{post, inRepo + "/deployments/{deployment_id}/statuses", byToken, "deployments:write", (*Server).createDeploymentStatus},
		{post, inRepo + "/check-runs", byToken, "checks:write", (*Server).createCheckRun},
		{get, aRun, byToken, "checks:read", (*Server).getCheckRun},
		{patch, aRun, byToken, "checks:write", (*Server).updateCheckRun},
		{get, aRun + "/annotations", byToken, "checks:read", (*Server).listAnnotations},
		{post, aRun + "/rerequest", byToken, "checks:write", (*Server).rerequestRun},
		{post, inRepo + "/check-suites", byToken, "checks:write", (*Server).createSuite},
		{get, aSuite, byToken, "checks:read", (*Server).getSuite},
		{get, aSuite + "/check-runs", byToken, "checks:read", (*Server).listSuiteRuns},
		{post, aSuite + "/rerequest", byToken, "checks:write", (*Server).rerequestSuite},
		{get, inRepo + "/pulls", byToken, "pull_requests:read", (*Server).listPulls},
		{get, inRepo + "/pulls/{pull_number}", byToken, "pull_requests:read", (*Server).getPull},
		{get, inRepo + "/pulls/{pull_number}/files", byToken, "pull_requests:read", (*Server).listPullFiles},
		{get, inRepo + "/issues/{issue_number}/comments", byToken, eitherRead, (*Server).listComments},
		{post, inRepo + "/issues/{issue_number}/comments", byToken, eitherMore, (*Server).createComment},
		{get, aComment, byToken, eitherRead, (*Server).getComment},
		{patch, aComment, byToken, eitherMore, (*Server).updateComment},
		{get, aComment + "/reactions", byToken, eitherRead, (*Server).listReactions},
		{post, aComment + "/reactions", byToken, eitherMore, (*Server).createReaction},
	}
}
