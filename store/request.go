package store

// ForgeAPI is the Forge of deliveries that no forge sent: somebody asked for something through the server's API or pages.
const ForgeAPI = "buildsmith"

// Events of such deliveries. The body is a Request.
const (
	RequestStart = "start" // Project and Version
	RequestRetry = "retry" // Build
)

// A Request is what somebody asked for through the API or a page.
type Request struct {
	Project string `json:",omitempty"` // name of a project
	Version string `json:",omitempty"` // what to build: a branch, a tag, a commit, pr/12; empty for the default branch
	Build   string `json:",omitempty"` // id of the build or notice to repeat
	By      string // who asked, for people to read

	Variables []Variable `json:",omitempty"` // of a start: they beat the project's
	Buildspec string     `json:",omitempty"` // of a start: a path, or a text; empty for the project's
}
