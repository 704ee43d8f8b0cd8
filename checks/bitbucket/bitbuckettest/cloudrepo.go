package bitbuckettest

// Where the operations of Cloud lie.
const (
	inWorkspace = "/repositories/{workspace}"
	inRepo      = "/repositories/{workspace}/{repo_slug}"
	inCommit    = inRepo + "/commit/{commit}"
	inPull      = inRepo + "/pullrequests/{pull_request_id}"
)

func (cloud) operations() []operation {
	return []operation{
		{method: "GET", path: inRepo, scope: "repository", run: (*Server).cloudRepo},
	}
}

// cloudRepo is GET of a repository.
func (s *Server) cloudRepo(c *call) *answer { return ok(s.cloudRepoJSON(c.repo)) }
