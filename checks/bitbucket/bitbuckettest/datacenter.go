package bitbuckettest

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// DataCenterOptions are those that only a Bitbucket Data Center has; the zero value is fit for tests.
type DataCenterOptions struct {
	Version string // 8.19.0; before 7.14 there are no build statuses of a repository, before 8.18 no drafts
	Context string // the path that the server is below, such as /bitbucket

	// DeniedAs401 answers a missing permission with 401, as Atlassian documents it, instead of 403.
	DeniedAs401 bool

	// BearerOnly lets git take the tokens of projects and repositories in a header only, as Atlassian documents it, and not as
	// the password of x-token-auth.
	BearerOnly bool

	// Breaker is after how many failed deliveries in a row a hook is skipped for a while; 0 never skips.
	Breaker int
}

// WebURL returns the address that people know the server by, which is what a bot is configured with: that of Data Center has
// the context path in it.
func (s *Server) WebURL() string {
	if d, is := s.flavor.(*dataCenter); is {
		return s.url + d.context
	}
	return s.url
}

// dataCenter is what Data Center does in its own way. It is written with Server.mu held once the server is there.
//
// It differs from the real one in two things. Public repositories cannot be read through the API without a token, and a
// refusal for want of a permission names it. Where servers differ from one another or from what is documented of them,
// DataCenterOptions choose.
type dataCenter struct {
	options    DataCenterOptions
	context    string
	version    [3]int
	limits     bool            // requests are counted
	unlicensed map[string]bool // users by name in small letters
	sources    map[*pull]*repo // where pull requests come from, which may be gone
}

func newDataCenter(o Options) (*dataCenter, error) {
	d := &dataCenter{options: o.DataCenter, context: strings.TrimSuffix(o.DataCenter.Context, "/"), limits: o.Limit != 0, unlicensed: map[string]bool{},
		sources: map[*pull]*repo{}}
	if d.context != "" && !strings.HasPrefix(d.context, "/") {
		return nil, fmt.Errorf("%q is no path to be below, such as /bitbucket", d.context)
	}
	if d.options.Version == "" {
		d.options.Version = "8.19.0"
	}
	var err error
	d.version, err = dcVersion(d.options.Version)
	return d, err
}

// atLeast reports whether the server has a version.
func (d *dataCenter) atLeast(major, minor int) bool {
	return slices.Compare(d.version[:2], []int{major, minor}) >= 0
}

func (d *dataCenter) host() forgetest.Host {
	return forgetest.Host{Name: "Bitbucket", Email: "bitbucket@example.org", Hidden: "refs/pull-requests"}
}

func (d *dataCenter) base() string { return d.context + "/rest" }

// The description, in parts that follow one another.
var (
	//go:embed datacenter.yaml
	dcPaths []byte
	//go:embed datacenter-components.yaml
	dcComponents []byte
	//go:embed datacenter-schemas.yaml
	dcSchemas []byte
	//go:embed datacenter-events.yaml
	dcEvents []byte
)

func (d *dataCenter) description() []byte {
	return bytes.Join([][]byte{dcPaths, dcComponents, dcSchemas, dcEvents}, nil)
}

func (d *dataCenter) published() string { return "" }

// canonical writes the path of a request as the description has it, which knows the version latest only. The web server of
// Data Center refuses a slash that is written as %2F: there is no such path then.
func (d *dataCenter) canonical(escaped string) string {
	if strings.Contains(strings.ToLower(escaped), "%2f") {
		return ""
	}
	parts := strings.SplitN(escaped, "/", 4) // "", api, 1.0, the rest
	if len(parts) == 4 && parts[2] == "1.0" {
		parts[2] = "latest"
	}
	return strings.Join(parts, "/")
}

func (d *dataCenter) outside(*Server, http.ResponseWriter, *http.Request) bool { return false }

func (d *dataCenter) gitPath(path string) (name, action string, ok bool) {
	rest, found := strings.CutPrefix(path, d.context+"/scm/")
	if !found {
		return "", "", false
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return "", "", false
	}
	return parts[0] + "/" + strings.TrimSuffix(parts[1], ".git"), parts[2], true
}

func (d *dataCenter) clonePath(r *repo) string {
	return fmt.Sprintf("%s/scm/%s/%s.git", d.context, r.workspace, r.slug)
}

func (d *dataCenter) fullName(r *repo) string {
	if strings.HasPrefix(r.workspace, "~") {
		return r.name()
	}
	return strings.ToUpper(r.workspace) + "/" + r.slug
}

func (d *dataCenter) repoName(params map[string]string) string {
	if params["repo"] == "" {
		return ""
	}
	return params["project"] + "/" + params["repo"]
}

func (d *dataCenter) reopens() bool { return true }

func (d *dataCenter) attempts() int { return 1 }

func (d *dataCenter) largest() int { return 0 }

// limited are all paths, if requests are counted at all: administrators have to switch that on.
func (d *dataCenter) limited(string) bool { return d.limits }

func (d *dataCenter) hookHeaders(h Hook, delivery Delivery) map[string]string {
	return map[string]string{"X-Request-Id": delivery.GUID, "X-Event-Key": delivery.Event, "User-Agent": "Atlassian HttpClient 4.2.0 / Bitbucket-" + d.options.Version,
		"Authorization": h.Authorization}
}

// operations are all that there is of the API.
func (d *dataCenter) operations() []operation {
	users, groups := "/permissions/users", "/permissions/groups"
	likes := strings.Replace(dcPull, "/api/", "/comment-likes/", 1) + "/comments/{comment}/reactions/{emoticon}"
	all := []operation{
		{method: "GET", path: "/api/latest/application-properties", run: d.properties},
		{method: "GET", path: dcProject + "/repos", scope: "REPO_READ", run: d.repositories},
		{method: "GET", path: dcProject + users, scope: "PROJECT_ADMIN", run: d.projectUsers},
		{method: "GET", path: dcProject + groups, scope: "PROJECT_ADMIN", run: d.projectGroups},
		{method: "GET", path: dcProject + "/permissions/{permission}/all", scope: "PROJECT_ADMIN", run: d.projectDefault},
		{method: "GET", path: dcRepo, scope: "REPO_READ", run: d.repository},
		{method: "GET", path: dcRepo + users, scope: "REPO_ADMIN", run: d.repoUsers},
		{method: "GET", path: dcRepo + groups, scope: "REPO_ADMIN", run: d.repoGroups},
		{method: "GET", path: dcRepo + "/commits", scope: "REPO_READ", run: d.commits},
		{method: "GET", path: dcCommit, scope: "REPO_READ", run: d.getCommit},
		{method: "GET", path: dcCommit + "/builds", scope: "REPO_READ", run: d.since714(d.getBuild)},
		{method: "POST", path: dcCommit + "/builds", scope: "REPO_READ", run: d.since714(d.setBuild)},
		{method: "DELETE", path: dcCommit + "/builds", scope: "REPO_ADMIN", run: d.since714(d.deleteBuild)},
		{method: "GET", path: dcRepo + "/branches", scope: "REPO_READ", run: d.branches},
		{method: "GET", path: dcRepo + "/branches/default", scope: "REPO_READ", run: d.oldDefaultBranch},
		{method: "GET", path: dcRepo + "/default-branch", scope: "REPO_READ", run: d.defaultBranch},
		{method: "GET", path: dcRepo + "/tags", scope: "REPO_READ", run: d.tags},
		{method: "GET", path: dcRepo + "/tags/{name}", scope: "REPO_READ", run: d.tag},
		{method: "GET", path: dcRepo + "/raw/{path}", scope: "REPO_READ", run: d.raw},
		{method: "GET", path: dcRepo + "/pull-requests", scope: "REPO_READ", run: d.pulls},
		{method: "GET", path: dcPull, scope: "REPO_READ", run: d.getPull},
		{method: "GET", path: dcPull + "/activities", scope: "REPO_READ", run: d.activities},
		{method: "POST", path: dcPull + "/comments", scope: "REPO_READ", run: d.addComment},
		{method: "GET", path: dcPull + "/comments/{comment}", scope: "REPO_READ", run: d.getComment},
		{method: "PUT", path: dcPull + "/comments/{comment}", scope: "REPO_READ", run: d.editComment},
		{method: "DELETE", path: dcPull + "/comments/{comment}", scope: "REPO_READ", run: d.deleteComment},
		{method: "PUT", path: likes, scope: "REPO_READ", run: d.react},
		{method: "DELETE", path: likes, scope: "REPO_READ", run: d.takeBack},
		{method: "GET", path: dcRepo + "/webhooks", scope: "REPO_ADMIN", run: d.hooks},
		{method: "POST", path: dcRepo + "/webhooks", scope: "REPO_ADMIN", run: d.addHook},
		{method: "POST", path: dcRepo + "/webhooks/test", scope: "REPO_ADMIN", run: d.testHook},
		{method: "GET", path: dcRepo + "/webhooks/{webhook}", scope: "REPO_ADMIN", run: d.getHook},
		{method: "PUT", path: dcRepo + "/webhooks/{webhook}", scope: "REPO_ADMIN", run: d.editHook},
		{method: "DELETE", path: dcRepo + "/webhooks/{webhook}", scope: "REPO_ADMIN", run: d.deleteHook},
		{method: "GET", path: "/api/latest/admin/groups/more-members", scope: dcLicensed, run: d.members},
		{method: "GET", path: "/api/latest/users", scope: dcLicensed, run: d.users},
		{method: "GET", path: "/api/latest/users/{user}", scope: dcLicensed, run: d.getUser},
		{method: "GET", path: strings.Replace(dcRepo, "/api/", "/branch-utils/", 1) + "/branches/info/{commit}", scope: "REPO_READ", run: d.branchesOf},
		{method: "GET", path: dcLegacyBuild, scope: dcLicensed, run: d.legacyBuilds},
		{method: "POST", path: dcLegacyBuild, scope: dcLicensed, run: d.setLegacyBuild},
		{method: "GET", path: dcReport, scope: "REPO_READ", run: d.getReport},
		{method: "PUT", path: dcReport, scope: "REPO_READ", run: d.setReport},
		{method: "DELETE", path: dcReport, scope: "REPO_READ", run: d.deleteReport},
		{method: "GET", path: dcReport + "/annotations", scope: "REPO_READ", run: d.annotations},
		{method: "POST", path: dcReport + "/annotations", scope: "REPO_READ", run: d.addAnnotations},
		{method: "DELETE", path: dcReport + "/annotations", scope: "REPO_READ", run: d.deleteAnnotations},
	}
	for i := range all {
		o := &all[i]
		o.run = named(o.run)
		if rule := dataCenterRules[o.method+" "+o.path]; rule != nil {
			o.rule = func(body any) []string {
				known, _ := body.(object)
				return rule(known)
			}
		}
	}
	return all
}

// named lets an answer say whose token it was, which is how a bot learns its own name.
func named(run func(*Server, *call) *answer) func(*Server, *call) *answer {
	return func(s *Server, c *call) *answer {
		a := run(s, c)
		if c.user != nil {
			if a.header == nil {
				a.header = map[string]string{}
			}
			a.header["X-Ausername"], a.header["X-Auserid"] = c.user.Name, fmt.Sprint(c.user.ID)
		}
		return a
	}
}

// since714 is an operation that older servers do not have.
func (d *dataCenter) since714(run func(*Server, *call) *answer) func(*Server, *call) *answer {
	return func(s *Server, c *call) *answer {
		if !d.atLeast(7, 14) {
			return dcProblem(http.StatusNotFound, "com.sun.jersey.api.NotFoundException", "null for uri: %s%s", s.url, c.r.URL.Path)
		}
		return run(s, c)
	}
}

// build is the number that goes with a version.
func (d *dataCenter) build() string {
	return fmt.Sprintf("%d%03d%03d", d.version[0], d.version[1], d.version[2])
}
