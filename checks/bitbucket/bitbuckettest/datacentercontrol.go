package bitbuckettest

// dataCenterActs are what people do with a Data Center only.
func dataCenterActs() acts {
	return acts{
		"delete-pull-request": act(func(s *Server, in aPull) (any, error) { return told(s.DeletePullRequest(in.Repo, in.Number)) }),
		"project-default": act(func(s *Server, in struct {
			Project string `json:"project"`
			Role    string `json:"role"`
		}) (any, error) {
			return object{}, s.SetProjectDefault(in.Project, in.Role)
		}),
		"licensed": act(func(s *Server, in struct {
			User     string `json:"user"`
			Licensed bool   `json:"licensed"`
		}) (any, error) {
			return object{}, s.SetLicensed(in.User, in.Licensed)
		}),
	}
}
