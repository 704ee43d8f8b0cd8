// Buildsmith is a CI bot for Git forges that runs AWS CodeBuild's buildspec.yml files on machines you own.
package main

import (
	"os"

	"buildsmith/runner/agent"
)

func main() {
	// The agent inside a sandbox is this program too. It starts before anything else is set up.
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Run(os.Args[2:]))
	}
}
