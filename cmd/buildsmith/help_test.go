package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp reads the help of every command: what it does, no line too long, and examples that the program understands.
func TestHelp(t *testing.T) {
	all := rootCommand().Commands()
	for _, c := range all {
		if c.Name() != "completion" { // cobra's own
			all = append(all, c.Commands()...)
		}
	}
	for _, c := range all {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" || c.Name() == "version" {
			continue
		}
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 70 {
				t.Errorf("in the list it is %q", c.Short)
			}
			for line := range strings.Lines(c.Long) {
				if len(line) > 100 {
					t.Errorf("too long a line: %s", line)
				}
			}
			if !strings.HasSuffix(c.Long, ".") {
				t.Errorf("the text does not end: %s", c.Long)
			}
			if c.Example == "" {
				t.Error("no example")
			}
			for line := range strings.Lines(c.Example) {
				tryExample(t, c, strings.TrimSpace(line))
			}
		})
	}
}

// tryExample has the program understand a line of an example, without doing it.
func tryExample(t *testing.T, c *cobra.Command, line string) {
	before, command, found := strings.Cut(line, "buildsmith ")
	if !found || before != "" && !strings.HasSuffix(before, "| ") {
		t.Errorf("%q does not run the program", line)
		return
	}
	command, _, _ = strings.Cut(command, " | ")
	command, _, _ = strings.Cut(command, " > ")
	about, args, err := rootCommand().Find(strings.Fields(command))
	if err != nil || about.CommandPath() != c.CommandPath() && about.Parent().CommandPath() != c.CommandPath() {
		t.Errorf("%q is of %v, %v", line, about.Name(), err)
		return
	}
	if err := about.ParseFlags(args); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if err := about.ValidateArgs(about.Flags().Args()); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if about.PreRunE != nil {
		if err := about.PreRunE(about, nil); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}
