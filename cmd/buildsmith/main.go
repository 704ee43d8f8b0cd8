// Buildsmith is a CI bot for Git forges that runs AWS CodeBuild's buildspec.yml files on machines you own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"buildsmith/runner/agent"
	"buildsmith/webhook/local"

	"github.com/spf13/cobra"
)

func main() {
	if status, ok := agent.Tool(os.Args); ok { // a program of a build, called by its link to this one
		os.Exit(status)
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent": // inside a sandbox; it starts before anything else is set up
			os.Exit(agent.Run(os.Args[2:]))
		case "hook": // inside a push
			local.Hook(os.Stdout)
			os.Exit(0)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// Exit statuses, the same for every command.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitFault       = 3
	exitInterrupted = 130
)

// A statusError ends the program with a status. Its text has been told already if silent is set.
type statusError struct {
	status int
	silent bool
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// usage is an error that the caller can mend: a wrong flag, file or configuration.
func usage(err error) error { return &statusError{status: exitUsage, err: err} }

// fault is an error of the machine's or ours.
func fault(err error) error { return &statusError{status: exitFault, err: err} }

// exit ends the program with a status and says nothing.
func exit(status int) error {
	return &statusError{status: status, silent: true, err: fmt.Errorf("exit status %d", status)}
}

// run runs a command line and returns the exit status.
func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	understood := false
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if !understood {
		fmt.Fprintf(os.Stderr, "buildsmith: %s\nUsage: %s; `%s --help` tells more.\n", strings.TrimSpace(err.Error()), cmd.UseLine(), cmd.CommandPath())
		return exitUsage
	}
	with := &statusError{status: exitFault}
	if errors.As(err, &with); !with.silent {
		fmt.Fprintln(os.Stderr, "buildsmith:", err)
	}
	return with.status
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "buildsmith",
		Short: "Your own AWS CodeBuild, as a bot for Git forges",
		Long: `buildsmith runs buildspec.yml files in containers on this machine: for a server that
Git forges call (serve), or for a directory (run).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(&cobra.Group{ID: "here", Title: "On this machine:"}, &cobra.Group{ID: "server", Title: "Builds of a server:"})
	for _, c := range []*cobra.Command{serveCommand(), runCommand(), validateCommand(), filterCommand(), doctorCommand(), restoreCommand()} {
		c.GroupID = "here"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{startCommand(), listCommand(), showCommand(), logCommand(), stopCommand(), retryCommand(), secretCommand(), backupCommand()} {
		c.GroupID = "server"
		root.AddCommand(c)
	}
	root.AddCommand(versionCommand())
	root.SetHelpCommand(helpCommand())
	// Cobra's own answers a shell that it does not know with its help, and status 0.
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Tell about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("%s has no command %q", about.CommandPath(), rest[0])
			}
			if err != nil {
				return usage(err)
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "buildsmith", version()) },
	}
}

// version is the module's version, or the commit that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return "development"
}
