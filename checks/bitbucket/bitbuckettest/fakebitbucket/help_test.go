package main

import (
	"testing"

	"buildsmith/checks/forgetest"
)

// TestHelpNamesAll checks that the help names each action and each thing that there is, and none besides.
func TestHelpNamesAll(t *testing.T) {
	address, _, _ := start(t, t.TempDir())
	forgetest.CheckHelp(t, help, func(method string) string { return call(t, 1, method, "-at", address, "nonsense") })
}
