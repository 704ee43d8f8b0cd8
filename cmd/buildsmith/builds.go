package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/web"
	"buildsmith/store"

	"github.com/spf13/cobra"
)

// Help that several commands have.
const (
	helpBuild = `A build is named by its id, by at least 6 characters of it, or as project#number.`
	helpToken = `The admin token comes from BUILDSMITH_TOKEN, or from the data directory of a server on
this machine.`
)

func startCommand() *cobra.Command {
	c := &client{}
	var wait bool
	var env []string
	var spec string
	cmd := &cobra.Command{
		Use:   "start PROJECT [VERSION]",
		Short: "Build a branch, tag or commit of a project",
		Long: `Build a branch, tag or commit of a project; the default branch, if none is named. The
address of the build is printed.

With --wait the log follows, and the exit status is the build's: 0 succeeded, 1 not.

` + helpToken,
		Example: `  buildsmith start shop
  buildsmith start shop v1.2 --wait
  buildsmith start owner-shop 3f2a9c1
  buildsmith start shop --env STAGE=test --env KEY=ci/signing,SECRETS_MANAGER --buildspec ci/nightly.yml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := web.StartRequest{Project: args[0], Buildspec: spec}
			for _, text := range env {
				v, err := startVariable(text)
				if err != nil {
					return usage(err)
				}
				request.Variables = append(request.Variables, v)
			}
			if len(args) > 1 {
				request.Version = args[1]
			}
			var started web.Started
			if err := c.do(cmd.Context(), http.MethodPost, "/api/builds", request, &started); err != nil {
				return err
			}
			return c.announce(cmd, started, wait)
		},
	}
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "print the log and wait for the end")
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "variable NAME=value, or NAME=reference,PARAMETER_STORE or ,SECRETS_MANAGER; it beats the project's (repeatable)")
	cmd.Flags().StringVarP(&spec, "buildspec", "b", "", "another buildspec of the source, or the text of one")
	c.flags(cmd)
	return cmd
}

// startVariable reads NAME=value[,TYPE].
func startVariable(text string) (web.Variable, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || !store.ValidVariable(name) {
		return web.Variable{}, fmt.Errorf("--env %q: write NAME=value; the name has letters, digits and _, and does not begin with CODEBUILD_", text)
	}
	v := web.Variable{Name: name, Value: value}
	for _, kind := range []string{store.ParameterStore, store.SecretsManager} {
		if reference, ok := strings.CutSuffix(value, ","+kind); ok {
			v.Value, v.Type = reference, kind
		}
	}
	return v, nil
}

func retryCommand() *cobra.Command {
	c := &client{}
	var wait bool
	cmd := &cobra.Command{
		Use:   "retry BUILD",
		Short: "Build once more what a build built",
		Long: `Make a new build of the same commit, with the same buildspec.

` + helpBuild + "\n\n" + helpToken,
		Example: `  buildsmith retry shop#12
  buildsmith retry 3f2a9c --wait`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var started web.Started
			if err := c.do(cmd.Context(), http.MethodPost, buildPath(args[0])+"/retry", nil, &started); err != nil {
				return err
			}
			return c.announce(cmd, started, wait)
		},
	}
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "print the log and wait for the end")
	c.flags(cmd)
	return cmd
}

// announce prints where builds are to be seen, and waits for them if that is asked for.
func (c *client) announce(cmd *cobra.Command, started web.Started, wait bool) error {
	if len(started.Builds) == 0 {
		return fault(fmt.Errorf("the server has not decided yet; its list of deliveries tells what becomes of number %d", started.Delivery))
	}
	for _, id := range started.Builds {
		var b web.Build
		if err := c.get(cmd.Context(), buildPath(id), &b); err != nil {
			return err
		}
		if !wait {
			fmt.Fprintf(cmd.OutOrStdout(), "%s#%d %s\n", b.Project, b.Number, b.URL)
			continue
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s#%d %s\n", b.Project, b.Number, b.URL)
		if err := c.follow(cmd.Context(), id, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	return nil
}

// follow prints the log of a build until its end, and what became of it. The error carries the exit status.
func (c *client) follow(ctx context.Context, id string, out, messages io.Writer) error {
	if err := c.copyLog(ctx, id, true, out); err != nil {
		return fault(err)
	}
	var b web.Build
	if err := c.get(ctx, buildPath(id), &b); err != nil {
		return err
	}
	fmt.Fprintln(messages)
	printPhases(messages, &b)
	if b.Status != "SUCCEEDED" {
		return exit(exitFailed)
	}
	return nil
}

func listCommand() *cobra.Command {
	c := &client{}
	var project, format string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List builds, newest first",
		Long:  "List the newest builds.\n\n" + helpToken,
		Example: `  buildsmith list
  buildsmith list --project shop --limit 50
  buildsmith list --format json | jq '.builds[] | select(.status == "FAILED")'`,
		Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if limit < 1 {
				return usage(fmt.Errorf("--limit %d is no number of builds", limit))
			}
			return knownFormat(format)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {fmt.Sprint(limit)}}
			if project != "" {
				query.Set("project", project)
			}
			var list web.BuildList
			if err := c.get(cmd.Context(), "/api/builds?"+query.Encode(), &list); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			w := tabwriter.NewWriter(plainWriter{cmd.OutOrStdout()}, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "BUILD\tSTATUS\tVERSION\tCOMMIT\tTOOK\tTITLE")
			for _, b := range list.Builds {
				fmt.Fprintf(w, "%s#%d\t%s\t%s\t%.8s\t%s\t%s\n", b.Project, b.Number, statusOf(&b), versionOf(&b), b.Source.Commit, tookOf(&b), b.Source.Title)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&project, "project", "p", "", "of this project only")
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many at most")
	cmd.Flags().StringVarP(&format, "format", "f", "text", "text or json")
	c.flags(cmd)
	return cmd
}

func knownFormat(format string) error {
	if format != "text" && format != "json" {
		return usage(fmt.Errorf("--format %s is none of text, json", format))
	}
	return nil
}

func statusOf(b *web.Build) string {
	switch {
	case b.Queued:
		return "QUEUED"
	case !b.Done && b.Phase != "":
		return b.Phase
	}
	return b.Status
}

// versionOf is what was built, for people.
func versionOf(b *web.Build) string {
	switch s := b.Source; {
	case s.PullRequest > 0:
		return fmt.Sprintf("pr/%d", s.PullRequest)
	case len(s.Ref) > len("refs/heads/") && s.Ref[:len("refs/heads/")] == "refs/heads/":
		return s.Ref[len("refs/heads/"):]
	case len(s.Ref) > len("refs/tags/"):
		return s.Ref[len("refs/"):]
	default:
		return fmt.Sprintf("%.20s", s.Version)
	}
}

func tookOf(b *web.Build) string {
	if !b.Done {
		return time.Since(b.Created).Round(time.Second).String()
	}
	return b.Ended.Sub(b.Created).Round(100 * time.Millisecond).String()
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func showCommand() *cobra.Command {
	c := &client{}
	var format string
	var told bool
	cmd := &cobra.Command{
		Use:   "show BUILD",
		Short: "Show a build: its phases, what failed, its artifacts",
		Long: `Show how a build stands.

` + helpBuild + "\n\n" + helpToken,
		Example: `  buildsmith show shop#12
  buildsmith show 3f2a9c --format json
  buildsmith show shop#12 --checks`,
		Args:    cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error { return knownFormat(format) },
		RunE: func(cmd *cobra.Command, args []string) error {
			var b web.Build
			if err := c.get(cmd.Context(), buildPath(args[0]), &b); err != nil {
				return err
			}
			var list []web.Check
			if told {
				if err := c.get(cmd.Context(), buildPath(b.ID)+"/checks", &list); err != nil {
					return err
				}
			}
			out := cmd.OutOrStdout()
			if format == "json" {
				return printJSON(out, struct {
					web.Build
					Checks []web.Check `json:"checks,omitempty"`
				}{b, list})
			}
			out = plainWriter{out}
			fmt.Fprintf(out, "%s#%d  %s  %s at %.12s  %s\n%s\n\n", b.Project, b.Number, statusOf(&b), versionOf(&b), b.Source.Commit, b.Source.Title, b.URL)
			printPhases(out, &b)
			if b.WaitsFor != "" {
				fmt.Fprintf(out, "It waits for %s.\n", b.WaitsFor)
			}
			printDetails(out, &b)
			for _, r := range list {
				fmt.Fprintf(out, "\ncheck %q: %s %s: %s\n", r.Name, r.Status, r.Conclusion, r.Title)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "text", "text or json")
	cmd.Flags().BoolVar(&told, "checks", false, "show the checks too, as the forge was told them")
	c.flags(cmd)
	return cmd
}

func printPhases(out io.Writer, b *web.Build) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range b.Phases {
		if p.Status == "" {
			continue
		}
		took := ""
		if !p.Ended.IsZero() {
			took = fmt.Sprintf("%.1f s", p.Ended.Sub(p.Started).Seconds())
		}
		line := []string{p.Type, p.Status, took, p.Message}
		for line[len(line)-1] == "" { // no blanks at its end
			line = line[:len(line)-1]
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	w.Flush()
	fmt.Fprintf(out, "%s after %s\n", statusOf(b), tookOf(b))
}

func printDetails(out io.Writer, b *web.Build) {
	for _, p := range b.Problems {
		fmt.Fprintf(out, "buildspec:%d:%d: %s\n", p.Line, p.Column, p.Message)
	}
	if f := b.Failure; f != nil {
		fmt.Fprintf(out, "\nThe command that failed in %s with exit status %d:\n  %s\n", f.Phase, f.Exit, f.Command)
		for _, line := range f.Tail {
			fmt.Fprintln(out, "  |", line)
		}
	}
	if a := b.Artifacts; a != nil {
		fmt.Fprintln(out)
		printArtifacts(out, "Artifacts", a)
	}
	for i := range b.Secondary {
		printArtifacts(out, "Artifacts "+b.Secondary[i].ID, &b.Secondary[i])
	}
	for i := range b.Reports {
		printReport(out, &b.Reports[i])
	}
	for _, v := range b.Exported {
		fmt.Fprintf(out, "Exported %s=%s\n", v.Name, v.Value)
	}
	if b.RerunOf != "" {
		fmt.Fprintln(out, "Repeats", b.RerunOf)
	}
	if b.RerunBy != "" {
		fmt.Fprintln(out, "Repeated by", b.RerunBy)
	}
}

func printArtifacts(out io.Writer, what string, a *web.Artifacts) {
	fmt.Fprintf(out, "%s: %s.zip, %d files, %d bytes, SHA-256 %s\n", what, strings.TrimSuffix(path.Join(a.Prefix, a.Name), ".zip"), a.Files, a.Size, a.SHA256)
}

func printReport(out io.Writer, r *web.Report) {
	fmt.Fprintf(out, "Report %s: %s", r.Group, r.Status)
	if t := r.Tests; t != nil {
		fmt.Fprintf(out, ", %d tests, %d failed, %d skipped", t.Total, t.Statuses[store.CaseFailed]+t.Statuses[store.CaseError], t.Statuses[store.CaseSkipped])
	}
	if c := r.Coverage; c != nil && c.LinePercent != nil {
		fmt.Fprintf(out, ", %s of the lines covered", checks.Percent(*c.LinePercent))
	}
	fmt.Fprintln(out)
	for _, p := range r.Problems {
		fmt.Fprintln(out, " ", p)
	}
	for _, c := range r.Failing {
		name := c.Name
		if c.Prefix != "" {
			name = c.Prefix + "." + name
		}
		fmt.Fprintln(out, " ", c.Status, name)
	}
}

func logCommand() *cobra.Command {
	c := &client{}
	var follow bool
	cmd := &cobra.Command{
		Use:   "log BUILD",
		Short: "Print the log of a build",
		Long: `Print the log of a build as it is; with --follow until the build ends.

` + helpBuild + "\n\n" + helpToken,
		Example: `  buildsmith log shop#12
  buildsmith log shop#13 --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.copyLog(cmd.Context(), args[0], follow, cmd.OutOrStdout())
			if err != nil && !errors.Is(err, context.Canceled) {
				return fault(err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the build ends")
	c.flags(cmd)
	return cmd
}

func stopCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "stop BUILD",
		Short: "Stop a build",
		Long: `Stop a build that waits or runs. Its commands have ten seconds to end.

` + helpBuild + "\n\n" + helpToken,
		Example: `  buildsmith stop shop#13`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var b web.Build
			if err := c.do(cmd.Context(), http.MethodPost, buildPath(args[0])+"/stop", nil, &b); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s#%d is being stopped\n", b.Project, b.Number)
			return nil
		},
	}
	c.flags(cmd)
	return cmd
}

func backupCommand() *cobra.Command {
	c := &client{}
	var output string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a backup of a server's state while it runs",
		Long: `Write a backup of everything a server knows: builds, logs, artifacts, reports, deliveries, the
repositories of the built-in forge, the keys behind links. The server goes on meanwhile. The
backup holds the admin token: keep it as you keep that. Secrets are in it as they lie there,
encrypted; their key is not: keep a copy of secrets.key elsewhere.

` + helpToken,
		Example: `  buildsmith backup --output buildsmith-2026-05-01.backup
  buildsmith backup > /mnt/backup/today`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := c.open(cmd.Context(), http.MethodGet, "/api/backup", nil)
			if err != nil {
				return fault(err)
			}
			defer in.Close()
			if output == "" {
				if _, err := io.Copy(cmd.OutOrStdout(), in); err != nil {
					return fault(err)
				}
				return nil
			}
			return writeBackup(output, in)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default standard output)")
	c.flags(cmd)
	return cmd
}

// writeBackup writes a file that is whole or not there.
func writeBackup(path string, in io.Reader) error {
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fault(err)
	}
	defer os.Remove(path + ".part")
	_, err = io.Copy(f, in)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fault(fmt.Errorf("writing the backup: %w", err))
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fault(err)
	}
	return nil
}
