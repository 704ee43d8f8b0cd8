package buildspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIgnore(t *testing.T) {
	const sudo = "BS218 phases.build.commands: sudo make: commands run as root, and few images have sudo; leave it out"
	const head = "version: 0.2\nphases:\n  build:\n    commands:\n"
	for _, tt := range []struct{ name, text, want string }{
		{"on the line", head + "      - sudo make # buildsmith:ignore BS218\n", ""},
		{"with a reason", head + "      - sudo make #buildsmith:ignore BS218 since the image has it\n", ""},
		{"on the line above", head + "      # buildsmith:ignore BS218\n      - sudo make\n", ""},
		{"above a comment", head + "      # buildsmith:ignore BS218\n\n      # It has to be.\n      - sudo make\n", ""},
		{"two above", head + "      # buildsmith:ignore BS218\n      # buildsmith:ignore BS201\n      - sudo make; ls\n", ""},
		{"several codes", head + "      # buildsmith:ignore BS218, BS201\n      - sudo make; ls\n", ""},
		{"in a block", head + "      - |\n        set -e\n        sudo make # buildsmith:ignore BS218\n        ls\n", ""},
		{"on the line of a block", head + "      - | # buildsmith:ignore BS201\n        make\n        ls\n", ""},
		{"above a block", head + "      # buildsmith:ignore BS201\n      - |\n        make\n        ls\n", ""},
		{"whole file", "# buildsmith:ignore-file BS218\n" + head + "      - sudo make\n      - sudo make\n", ""},
		{"whole file, from its end", head + "      - sudo make\n# buildsmith:ignore-file BS218\n", ""},
		{"Windows", strings.ReplaceAll(head+"      # buildsmith:ignore BS218\n      - sudo make\n", "\n", "\r\n"), ""},
		{"a warning of the parser", "version: 0.2\nx-a: b # buildsmith:ignore BS101\n" + phases, ""},
		{"another line", head + "      # buildsmith:ignore BS218\n      - make\n      - sudo make\n", "7:7 " + sudo + "\n5:7 BS108 the comment buildsmith:ignore BS218 silences nothing; take it out"},
		{"another code", head + "      - sudo make # buildsmith:ignore BS217\n", "5:7 " + sudo + "\n5:19 BS108 the comment buildsmith:ignore BS217 silences nothing; take it out"},
		{"at the end", head + "      - make\n# buildsmith:ignore BS218\n", "6:1 BS108 the comment buildsmith:ignore BS218 silences nothing; take it out"},
		{"unknown code", head + "      - make # buildsmith:ignore BS999\n", "5:14 BS108 the comment buildsmith:ignore BS999 is no code of a warning"},
		{"no code", head + "      - make # buildsmith:ignore\n      - make # buildsmith:ignore it\n",
			"5:14 BS108 the comment buildsmith:ignore names no code; write # buildsmith:ignore BS101\n6:14 BS108 the comment buildsmith:ignore names no code; write # buildsmith:ignore BS101"},
		{"an error's code", head + "      - make # buildsmith:ignore BS003\n", "5:14 BS108 the comment buildsmith:ignore BS003 is the code of an error, which cannot be silenced"},
		{"no comment", head + "      - make buildsmith:ignore BS218\n", ""},
		{"useless comments silenced", "# buildsmith:ignore-file BS108\n" + head + "      - make # buildsmith:ignore BS218\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := all(tt.text)
			got := coded(problems)
			if diff := cmp.Diff(sorted(strings.Split(tt.want, "\n")), sorted(strings.Split(got, "\n"))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestErrorsAreNotIgnored has a comment at an error.
func TestErrorsAreNotIgnored(t *testing.T) {
	spec, problems := Parse([]byte("version: 0.3 # buildsmith:ignore BS003\n# buildsmith:ignore-file BS003\n" + phases))
	if spec != nil || Errors(problems) != 1 {
		t.Errorf("%v", problems)
	}
}

// TestLintWithoutASpec has nothing to look at.
func TestLintWithoutASpec(t *testing.T) {
	if got := Lint([]byte("version: 0.2\n"), nil); got != nil {
		t.Errorf("without a spec: %v", got)
	}
	spec, _ := mustParse(t, "version: 0.2\nphases: {build: {on-failure: RETRY-1, commands: [a]}}\n")
	if got := Lint([]byte("version: 0.2\nphases: {build: {on-failure: '', commands: [a]}}\n"), spec); got != nil {
		t.Errorf("of another valid text: %v", got)
	}
	if got := Lint([]byte("version: 0.3\n"), spec); got != nil {
		t.Errorf("of another text: %v", got)
	}
}
