package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"buildsmith/checks/web"
	"buildsmith/store"

	"github.com/spf13/cobra"
)

func secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Set, show and remove the secrets of builds",
		Long: `Keep secrets for builds, whose buildspecs name them in env.parameter-store and
env.secrets-manager. A server encrypts them; each says which projects may read it.`,
		Example: `  buildsmith secret set ci/registry/password --project owner/repo
  buildsmith secret list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(secretSetCommand(), secretGetCommand(), secretListCommand(), secretRemoveCommand(), secretRotateCommand())
	return cmd
}

// secretPath is the address of a secret, whose name may have slashes.
func secretPath(name string) string {
	parts := strings.Split(strings.TrimPrefix(name, "/"), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return "/api/secrets/" + strings.Join(parts, "/")
}

func secretSetCommand() *cobra.Command {
	c := &client{}
	var projects, refs []string
	var stage, file string
	var keep bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Give a secret a new value",
		Long: `Give a secret a new value, and say who may read it. The value comes from the standard input,
from a file, or is asked for; never from the command line, which others on this machine can see.
The line break that ends a value of one line is no part of it; several lines are kept as they are.

The first time, --project is needed: owner/repo, a pattern such as owner/*, or * for every project.
Later, what is not named stays as it was. With --ref only builds of those refs read it, such as
refs/heads/main or refs/heads/release/**; an empty one takes the rule away. Builds of another
repository's commits, those of forks, read no secrets.

The version before becomes AWSPREVIOUS. With --stage the new value gets that stage alone, and the
current one stays.

` + helpToken,
		Example: `  buildsmith secret set ci/registry/password --project owner/repo
  buildsmith secret set deploy/key --project owner/* --ref refs/heads/main --file id_ed25519
  buildsmith secret set deploy/key --keep --project owner/shop --project owner/docs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := web.SecretRequest{Projects: projects, Stage: stage}
			if cmd.Flags().Changed("ref") {
				r.Refs = slices.DeleteFunc(slices.Clone(refs), func(ref string) bool { return ref == "" })
			}
			switch {
			case keep && (file != "" || stage != ""):
				return usage(errors.New("--keep keeps the value: leave out --file and --stage"))
			case keep && r.Projects == nil && r.Refs == nil:
				return usage(errors.New("--keep changes who may read the secret: name --project or --ref"))
			case !keep:
				value, err := secretValue(cmd, args[0], file)
				if err != nil {
					return err
				}
				r.Value = &value
			}
			var set web.SecretSet
			if err := c.do(cmd.Context(), http.MethodPut, secretPath(args[0]), r, &set); err != nil {
				return err
			}
			printSet(cmd, &set, !keep)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&projects, "project", nil, "project that may read it, or a pattern (repeatable)")
	f.StringArrayVar(&refs, "ref", nil, "full ref whose builds may read it, or a pattern (repeatable; default any)")
	f.StringVar(&stage, "stage", "", "stage of the new version (default AWSCURRENT)")
	f.StringVarP(&file, "file", "f", "", "file that holds the value")
	f.BoolVar(&keep, "keep", false, "keep the value, and change only who may read it")
	c.flags(cmd)
	return cmd
}

// printSet tells what was set, and of rules that have nobody.
func printSet(cmd *cobra.Command, set *web.SecretSet, version bool) {
	out := plainWriter{cmd.OutOrStdout()}
	if v := set.Versions; version && len(v) > 0 {
		fmt.Fprintf(out, "%s: version %d (%s) is %s\n", set.Name, v[0].Number, v[0].ID, strings.Join(v[0].Stages, ", "))
	}
	refs := ""
	if len(set.Refs) > 0 {
		refs = " of " + strings.Join(set.Refs, ", ")
	}
	fmt.Fprintf(out, "%s: builds%s of %s may read it\n", set.Name, refs, strings.Join(set.Projects, ", "))
	for _, pattern := range set.Unmatched {
		fmt.Fprintf(plainWriter{cmd.ErrOrStderr()}, "buildsmith: note: no project is called %s yet\n", pattern)
	}
}

// secretValue reads a value: from a file, or the standard input, where somebody at a terminal is asked.
func secretValue(cmd *cobra.Command, name, file string) (string, error) {
	in := cmd.InOrStdin()
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usage(err)
		}
		defer f.Close()
		in = f
	} else if isTerminal(in) {
		return askSecret(cmd.Context(), in.(*os.File), plainWriter{cmd.ErrOrStderr()}, name)
	}
	text, err := io.ReadAll(io.LimitReader(in, store.MaxSecret+3)) // and a line break
	if err != nil {
		return "", usage(fmt.Errorf("reading the value: %w", err))
	}
	return oneLine(string(text)), nil
}

// oneLine takes the line break from the end of a text of one line: commands and editors put it there.
func oneLine(text string) string {
	line, ok := strings.CutSuffix(text, "\n")
	if !ok || strings.Contains(line, "\n") {
		return text
	}
	return strings.TrimSuffix(line, "\r")
}

// askSecret asks somebody at a terminal.
func askSecret(ctx context.Context, f *os.File, messages io.Writer, name string) (string, error) {
	fmt.Fprintf(messages, "Value of %s: ", name)
	value, err := readSilently(ctx, f)
	fmt.Fprintln(messages)
	switch {
	case ctx.Err() != nil:
		return "", exit(exitInterrupted)
	case err != nil:
		return "", fault(err)
	}
	return value, nil
}

func secretGetCommand() *cobra.Command {
	c := &client{}
	var version, stage string
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Print a secret's value",
		Long: `Print the value of a secret as it is; at a terminal a line break follows.

` + helpToken,
		Example: `  buildsmith secret get ci/registry/password
  buildsmith secret get ci/registry/password --stage AWSPREVIOUS
  buildsmith secret get ci/registry/password --version 3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if version != "" {
				query.Set("version", version)
			}
			if stage != "" {
				query.Set("stage", stage)
			}
			path := secretPath(args[0])
			if len(query) > 0 {
				path += "?" + query.Encode()
			}
			var v web.SecretValue
			if err := c.get(cmd.Context(), path, &v); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if isTerminal(out) && !strings.HasSuffix(v.Value, "\n") {
				v.Value += "\n"
			}
			if _, err := io.WriteString(out, v.Value); err != nil {
				return fault(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&version, "version", "", "number or id of a version")
	cmd.Flags().StringVar(&stage, "stage", "", "stage of a version (default AWSCURRENT)")
	c.flags(cmd)
	return cmd
}

func secretListCommand() *cobra.Command {
	c := &client{}
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List secrets without their values",
		Long: `List the secrets: their versions that have a stage, when they were changed, and who may read
them. JSON has all versions.

` + helpToken,
		Example: `  buildsmith secret list
  buildsmith secret list --format json | jq -r '.[].name'`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return knownFormat(format) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []web.Secret
			if err := c.get(cmd.Context(), "/api/secrets", &list); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			if len(list) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "There are no secrets.")
				return nil
			}
			w := tabwriter.NewWriter(plainWriter{cmd.OutOrStdout()}, 0, 0, 2, ' ', 0)
			for _, s := range list {
				var versions []string
				for _, v := range s.Versions {
					for _, stage := range v.Stages {
						versions = append(versions, fmt.Sprintf("%d %s", v.Number, stage))
					}
				}
				line := []string{s.Name, strings.Join(versions, ", "), s.Changed.Local().Format("2006-01-02 15:04"), strings.Join(s.Projects, " ")}
				if len(s.Refs) > 0 {
					line = append(line, strings.Join(s.Refs, " "))
				}
				fmt.Fprintln(w, strings.Join(line, "\t"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	c.flags(cmd)
	return cmd
}

func secretRemoveCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a secret with all its versions",
		Long: `Remove a secret with all its versions.

` + helpToken,
		Example: `  buildsmith secret rm ci/registry/password`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.do(cmd.Context(), http.MethodDelete, secretPath(args[0]), nil, &struct{}{}); err != nil {
				return err
			}
			fmt.Fprintf(plainWriter{cmd.OutOrStdout()}, "%s was removed\n", strings.TrimPrefix(args[0], "/"))
			return nil
		},
	}
	c.flags(cmd)
	return cmd
}

func secretRotateCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Replace the key that secrets are encrypted with",
		Long: `Have the server make a new key, encrypt all secrets to it and forget the key before. A backup
of before needs the key of before.

` + helpToken,
		Example: `  buildsmith secret rotate-key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var key web.SecretKey
			if err := c.do(cmd.Context(), http.MethodPost, "/api/secrets-key", nil, &key); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The key was replaced; %d values were encrypted to the new one. Keep a copy of the key file apart from backups.\n", key.Values)
			return nil
		},
	}
	c.flags(cmd)
	return cmd
}
