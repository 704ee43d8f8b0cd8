package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"buildsmith/runner/buildspec"

	"github.com/spf13/cobra"
)

func validateCommand() *cobra.Command {
	v := &validation{}
	var schema bool
	cmd := &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "Check buildspecs and tell every problem with its place",
		Long: `Check buildspecs without running anything. Each problem is a line file:line:column: message;
warnings say so and do not count. What is wrong in the block batch counts, though a plain build
ignores it. Of a directory its buildspec.yml is checked, - is standard
input, and without a file it is buildspec.yml.

With --strict warnings are errors, and common mistakes are looked for: failures that go unseen,
deployments of broken builds, secrets in plain text and others. docs/lints.md tells about each
code; a comment # buildsmith:ignore CODE on the line, or above it, silences one.

With --schema the JSON Schema of buildspecs is printed, for editors.

Exit status: 0 valid, 2 invalid, 3 a file cannot be read.`,
		Example: `  buildsmith validate
  buildsmith validate --strict ci/*.yml
  buildsmith validate --strict --format sarif . > buildspec.sarif
  buildsmith validate --schema > buildspec.schema.json
  aws codebuild batch-get-projects --names shop --query 'projects[0].source.buildspec' --output text | buildsmith validate -`,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case schema && len(files) > 0:
				return usage(fmt.Errorf("--schema takes no file"))
			case schema:
				_, err := cmd.OutOrStdout().Write(buildspec.Schema())
				return err
			case len(files) == 0:
				files = []string{specFile}
			}
			print, known := printers[v.format]
			if !known {
				return usage(fmt.Errorf("--format %s is none of text, json, sarif", v.format))
			}
			v.in, v.errors = cmd.InOrStdin(), cmd.ErrOrStderr()
			for _, name := range files {
				v.check(name)
			}
			if err := print(cmd.OutOrStdout(), v.found); err != nil {
				return fault(fmt.Errorf("printing the problems: %w", err))
			}
			if v.status != 0 {
				return exit(v.status)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&v.strict, "strict", false, "look for common mistakes, and take warnings for errors")
	cmd.Flags().StringVarP(&v.format, "format", "f", "text", "text, json or sarif")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of buildspecs")
	return cmd
}

// specFile is the name of the file that is a buildspec where none is named.
const specFile = "buildspec.yml"

// A validation checks files one after the other.
type validation struct {
	in     io.Reader
	errors io.Writer
	strict bool
	format string

	found  []finding
	status int
}

// A finding is a problem as it is printed.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Level   string `json:"level"` // error or warning
	Code    string `json:"code"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// check looks at a file.
func (v *validation) check(name string) {
	shown, text, err := v.read(name)
	if err != nil {
		fmt.Fprintln(v.errors, "buildsmith:", err)
		v.status = max(v.status, exitFault)
		return
	}
	spec, problems := buildspec.ParseBatch(text)
	if v.strict {
		problems = buildspec.Sorted(append(problems, buildspec.Lint(text, spec)...))
	}
	for _, p := range problems {
		f := finding{shown, p.Line, p.Column, "error", p.Code, p.Path, p.Message}
		if p.Warning && !v.strict {
			f.Level = "warning"
		} else {
			v.status = max(v.status, exitUsage)
		}
		v.found = append(v.found, f)
	}
}

// read gives the text of a file, and the name under which its problems are told.
func (v *validation) read(name string) (shown string, text []byte, err error) {
	from := v.in
	shown = "standard input"
	if name != "-" {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			name = filepath.Join(name, specFile)
		}
		shown = name
		file, err := os.Open(name)
		if os.IsNotExist(err) && filepath.Base(name) == specFile {
			near := filepath.Join(filepath.Dir(name), "buildspec.yaml")
			if _, missing := os.Stat(near); missing == nil {
				return "", nil, fmt.Errorf("%w; %s is there, but the name is %s", err, near, specFile)
			}
		}
		if err != nil {
			return "", nil, err
		}
		defer file.Close()
		from = file
	}
	text, err = io.ReadAll(io.LimitReader(from, buildspec.MaxSize+1))
	return shown, text, err
}

// printers are the formats.
var printers = map[string]func(io.Writer, []finding) error{
	"text":  printText,
	"json":  func(out io.Writer, found []finding) error { return printJSON(out, append([]finding{}, found...)) },
	"sarif": printSARIF,
}

// printText prints a line for each finding, which ends with the code of what a comment can silence.
func printText(out io.Writer, found []finding) error {
	out = plainWriter{out}
	for _, f := range found {
		level, code := "", ""
		if f.Level == "warning" {
			level = "warning: "
		}
		if !isErrorCode(f.Code) {
			code = " [" + f.Code + "]"
		}
		if _, err := fmt.Fprintf(out, "%s:%d:%d: %s%s%s\n", f.File, f.Line, f.Column, level, f.Message, code); err != nil {
			return err
		}
	}
	return nil
}

// isErrorCode reports whether a code is that of an error, strict or not.
func isErrorCode(code string) bool {
	for _, rule := range buildspec.Rules() {
		if rule.Code == code {
			return rule.Level() == "error"
		}
	}
	return true
}
