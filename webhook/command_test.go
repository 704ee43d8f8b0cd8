package webhook

import (
	"slices"
	"strings"
	"testing"
)

func words(commands []command) string {
	var s []string
	for _, c := range commands {
		line := strings.Join(append([]string{c.verb}, c.targets...), " ")
		if c.hash != "" {
			line += " #" + c.hash
		}
		for _, o := range c.options {
			line += " " + o.Name + "=" + o.Value
		}
		if c.problem != "" {
			line += " ! " + c.problem
		}
		s = append(s, line)
	}
	return strings.Join(s, "; ")
}

const someHash = "0123456789abcdef0123456789abcdef01234567"

func TestParseCommands(t *testing.T) {
	for body, want := range map[string]string{
		"/test":                               "test",
		"/rerun":                              "rerun",
		"/retest":                             "rerun",
		"/rerun all":                          "rerun all",
		"/cancel":                             "cancel",
		"/cancel shop":                        "cancel shop",
		"/status":                             "status",
		"/help":                               "help",
		"/buildsmith test":                    "test",
		"/BuildSmith Test shop deploy":        "test shop deploy",
		"/test \t ":                           "test",
		"thanks!\r\n/test shop\r\nbye":        "test shop",
		"a\r/test\rb":                         "test",
		"/test a\n/rerun b\n/test a":          "test a; rerun b",
		"please /test":                        "",
		" /test":                              "",
		"\t/test":                             "",
		"> /test":                             "",
		"/testing":                            "",
		"/ test":                              "",
		"/":                                   "",
		"/buildsmith":                         "help",
		"/buildsmith frobnicate":              "help ! `frobnicate` is no command.",
		"/buildsmith <b>":                     "help ! That is no command.",
		"/test $(rm -rf /)":                   "",
		"/test a;b":                           "",
		"/status of this?":                    "",
		"/buildsmith status of this":          "status ! It is written `/buildsmith status`.",
		"/buildsmith test a;b":                "test ! It is written `/buildsmith test [PROJECT...] [NAME=value...]`.",
		"/buildsmith rerun A=b":               "rerun ! It is written `/buildsmith rerun [PROJECT...|all]`.",
		"/buildsmith cancel A=b":              "cancel ! It is written `/buildsmith cancel [PROJECT...]`.",
		"/test A=b":                           "test A=b",
		"/test shop A=b C=\"d e\" F=":         "test shop A=b C=d e F=",
		`/test A="say \"hi\" \\ x"`:           `test A=say "hi" \ x`,
		`/test A=b"c`:                         `test A=b"c`,
		`/test A="b`:                          "",
		`/buildsmith test A="b`:               "test ! A quotation mark is not closed.",
		"/test 1A=b":                          "",
		"/approve " + someHash:                "approve #" + someHash,
		"/ok-to-test 0123ABC":                 "approve #0123abc",
		"/approve":                            "approve",
		"/approve 123456":                     "",
		"/buildsmith approve 123456":          "approve ! A commit is named by 7 to 40 hexadecimal digits. It is written `/buildsmith approve COMMIT`.",
		"/buildsmith approve 1234567 1234567": "approve #1234567 ! A commit is named by 7 to 40 hexadecimal digits. It is written `/buildsmith approve COMMIT`.",
		"/revoke":                             "revoke",
		"/buildsmith revoke x":                "revoke ! A commit is named by 7 to 40 hexadecimal digits. It is written `/buildsmith revoke [COMMIT]`.",
		"/codebuild_run(" + someHash + ")":    "approve #" + someHash,
		"/codebuild_run(0123456)":             "",
		"x /codebuild_run(" + someHash + ")":  "",
		"```\n/test\n```":                     "",
		"```sh\n/test\n```\n/rerun":           "rerun",
		"~~~\n/test\n```\n/test\n~~~\n/rerun": "rerun",
		"````\n```\n/test\n````\n/rerun":      "rerun",
		"```\n/test":                          "",
		"    ```\n/test":                      "test",
		"`` ` ``\n/test":                      "test",
		"<!-- /test\n/test\n-->\n/rerun":      "rerun",
		"<!-- x -->/test":                     "",
		"<!--\n/test":                         "",
		"/test 1\n/test 2\n/test 3\n/test 4\n/test 5\n/test 6": "test 1; test 2; test 3; test 4; test 5",
		"/test " + strings.Repeat("x", 101):                    "",
		strings.Repeat("x\n", 40_000) + "/test":                "",
		"":                                                     "",
	} {
		if got := words(DefaultCommands.parse(body)); got != want {
			t.Errorf("%.60q holds %q, want %q", body, got, want)
		}
	}
}

func TestParseCommandsOfAnotherPrefix(t *testing.T) {
	own := Commands{Prefix: "ci"}
	for body, want := range map[string]string{
		"/ci test": "test", "/test": "", "/buildsmith test": "", "/ci": "help", "/codebuild_run(" + someHash + ")": "approve #" + someHash,
	} {
		if got := words(own.parse(body)); got != want {
			t.Errorf("%q holds %q, want %q", body, got, want)
		}
	}
}

func TestSkips(t *testing.T) {
	for message, want := range map[string]string{
		"fix [skip ci]":                  "[skip ci]",
		"[CI Skip] fix":                  "[ci skip]",
		"fix\n\nbody [no ci]":            "[no ci]",
		"fix\n\nskip-checks: true":       "skip-checks: true",
		"fix\n\nskip-checks:true\n":      "skip-checks: true",
		"fix":                            "",
		"skip ci":                        "",
		"fix\n\nwe skip-checks: true it": "",
	} {
		if got := skips(message); got != want {
			t.Errorf("skips(%q) = %q, want %q", message, got, want)
		}
	}
}

func FuzzParseCommands(f *testing.F) {
	f.Add("/test a\n```\n/rerun\n```")
	f.Add("<!-- x -->/buildsmith rerun all")
	f.Add("/test a B=\"c \\\" d\" E=\n/approve 0123456\n/codebuild_run(" + someHash + ")")
	f.Fuzz(func(t *testing.T, body string) {
		commands := DefaultCommands.parse(body)
		if len(commands) > maxCommands {
			t.Errorf("%d commands", len(commands))
		}
		for _, c := range commands {
			if !slices.Contains([]string{verbTest, verbRerun, verbCancel, verbApprove, verbRevoke, verbStatus, verbHelp}, c.verb) {
				t.Errorf("verb %q", c.verb)
			}
			for _, word := range c.targets {
				if !target.MatchString(word) {
					t.Errorf("target %q", word)
				}
			}
			if c.hash != "" && !shortHash.MatchString(c.hash) {
				t.Errorf("hash %q", c.hash)
			}
			for _, o := range c.options {
				if !optionKey.MatchString(o.Name) {
					t.Errorf("option %q", o.Name)
				}
			}
			// What is said of it cannot break out of a comment.
			if strings.ContainsAny(c.problem, "<>@\n") || c.verb != verbTest && len(c.options) > 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}
