package main

import (
	"fmt"
	"io"
	"os"

	"buildsmith/runner/buildspec"

	"github.com/spf13/cobra"
)

func validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "Check buildspecs and tell every problem with its place",
		Long: `Check buildspecs without running anything. Each problem is a line file:line:column: message;
warnings say so and do not count.

Without a file buildspec.yml is checked; - is standard input.

Exit status: 0 valid, 2 invalid, 3 a file cannot be read.`,
		Example: `  buildsmith validate
  buildsmith validate ci/*.yml
  aws codebuild batch-get-projects --names shop --query 'projects[0].source.buildspec' --output text | buildsmith validate -`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{"buildspec.yml"}
			}
			status := 0
			for _, name := range files {
				status = max(status, validate(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), name))
			}
			if status != 0 {
				return exit(status)
			}
			return nil
		},
	}
}

// validate checks one file and returns the exit status for it.
func validate(in io.Reader, out, errors io.Writer, name string) int {
	text, shown, err := []byte(nil), name, error(nil)
	if name == "-" {
		shown = "standard input"
		text, err = io.ReadAll(io.LimitReader(in, buildspec.MaxSize+1))
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		fmt.Fprintln(errors, "buildsmith:", err)
		return exitFault
	}
	spec, list := buildspec.Parse(text)
	for _, p := range list {
		fmt.Fprintf(out, "%s:%s\n", shown, p)
	}
	if spec == nil {
		return exitUsage
	}
	return 0
}
