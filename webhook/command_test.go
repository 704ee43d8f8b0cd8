package webhook

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func words(commands []command) string {
	var s []string
	for _, c := range commands {
		s = append(s, strings.Join(append([]string{c.verb}, c.targets...), " "))
	}
	return strings.Join(s, "; ")
}

func TestParseCommands(t *testing.T) {
	for body, want := range map[string]string{
		"/test":                               "test",
		"/rerun":                              "rerun",
		"/retest":                             "rerun",
		"/buildsmith test":                    "test",
		"/BuildSmith Test shop deploy":        "test shop deploy",
		"/test \t ":                           "test",
		"thanks!\r\n/test shop\r\nbye":        "test shop",
		"/test a\n/rerun b\n/test a":          "test a; rerun b",
		"please /test":                        "",
		" /test":                              "",
		"\t/test":                             "",
		"> /test":                             "",
		"/testing":                            "",
		"/ test":                              "",
		"/":                                   "",
		"/help":                               "",
		"/buildsmith":                         "help",
		"/buildsmith frobnicate":              "frobnicate",
		"/test $(rm -rf /)":                   "",
		"/test a;b":                           "",
		"```\n/test\n```":                     "",
		"```sh\n/test\n```\n/rerun":           "rerun",
		"~~~\n/test\n```\n/test\n~~~\n/rerun": "rerun",
		"````\n```\n/test\n````\n/rerun":      "rerun",
		"```\n/test":                          "",
		"    ```\n/test":                      "test",
		"`` ` ``\n/test":                      "test",
		"<!-- /test\n/test\n-->\n/rerun":      "rerun",
		"<!--\n/test":                         "",
		"/test 1\n/test 2\n/test 3\n/test 4\n/test 5\n/test 6": "test 1; test 2; test 3; test 4; test 5",
		"/test " + strings.Repeat("x", 101):                    "",
		strings.Repeat("x\n", 40_000) + "/test":                "",
		"":                                                     "",
	} {
		if got := words(parseCommands(body)); got != want {
			t.Errorf("%.60q holds %q, want %q", body, got, want)
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
	f.Fuzz(func(t *testing.T, body string) {
		commands := parseCommands(body)
		if len(commands) > maxCommands {
			t.Errorf("%d commands", len(commands))
		}
		for _, c := range commands {
			if c.verb == "" {
				t.Error("a command without a verb")
			}
			for _, word := range c.targets {
				if !target.MatchString(word) || !utf8.ValidString(word) {
					t.Errorf("target %q", word)
				}
			}
			if c.verb == "test" || c.verb == "rerun" {
				if !strings.Contains(strings.ToLower(body), "test") && !strings.Contains(strings.ToLower(body), "rerun") {
					t.Error(fmt.Sprintf("%q out of %q", c.verb, body))
				}
			}
		}
	})
}
