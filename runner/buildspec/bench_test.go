package buildspec

import (
	"fmt"
	"strings"
	"testing"
)

// longFile is a buildspec of 500 lines: variables, a long script, many commands, reports.
func longFile() []byte {
	var b strings.Builder
	b.WriteString("version: 0.2\nenv:\n  shell: bash\n  variables:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "    VARIABLE_%d: value of %d\n", i, i)
	}
	b.WriteString("phases:\n  install:\n    runtime-versions:\n      nodejs: 20\n    commands:\n")
	for i := range 80 {
		fmt.Fprintf(&b, "      - echo \"step %d\" && make step-%d\n", i, i)
	}
	b.WriteString("  build:\n    on-failure: ABORT\n    commands:\n      - |\n        set -euo pipefail\n")
	for i := range 70 {
		fmt.Fprintf(&b, "        if [[ -f \"file-%d\" ]]; then\n          cp \"file-%d\" \"$OUT/$(basename file-%d)\"\n        fi\n", i, i, i)
	}
	b.WriteString("      - >-\n")
	for i := range 40 {
		fmt.Fprintf(&b, "        echo %d &&\n", i)
	}
	b.WriteString("        true\nreports:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  group-%d:\n    files: ['**/*.xml']\n    base-directory: out/%d\n    file-format: JUNITXML\n", i, i)
	}
	b.WriteString("artifacts:\n  files: ['**/*']\ncache:\n  key: k\n  paths: ['a/**/*']\n")
	return []byte(b.String())
}

// BenchmarkParse parses a file of 500 lines.
func BenchmarkParse(b *testing.B) {
	text := longFile()
	if n := strings.Count(string(text), "\n"); n < 490 || n > 510 {
		b.Fatalf("%d lines", n)
	}
	if spec, problems := Parse(text); spec == nil || len(problems) > 0 {
		b.Fatal(problems)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Parse(text)
	}
}

// BenchmarkLint looks for mistakes in the same file.
func BenchmarkLint(b *testing.B) {
	text := longFile()
	spec, _ := Parse(text)
	if problems := Lint(text, spec); len(problems) > 0 {
		b.Fatal(problems)
	}
	b.ReportAllocs()
	for b.Loop() {
		Lint(text, spec)
	}
}
