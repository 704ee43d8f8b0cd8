// Command fakebitbucket is a Bitbucket Cloud or Data Center on the own machine, to try a bot against: see package
// bitbuckettest for what it has and what it checks, and help.txt for how it is used.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/checks/forgetest"
)

//go:embed help.txt
var help string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var err error
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		fmt.Fprint(stdout, help)
		return 0
	}
	if len(args) > 0 && (args[0] == "do" || args[0] == "get") {
		err = forgetest.Drive(ctx, "fakebitbucket", "http://"+defaultListen, args[0], args[1:], stdout, stderr)
	} else {
		err = serve(ctx, args, stdout, stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintf(stderr, "fakebitbucket: %v\n", err)
		return 1
	}
	return 0
}

const defaultListen = "127.0.0.1:3998"

// events are those that the hook of -hook is told of.
var events = map[bitbuckettest.Flavor][]string{
	bitbuckettest.Cloud: {"repo:push", "repo:updated", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected",
		"pullrequest:comment_created"},
	bitbuckettest.DataCenter: {"repo:refs_changed", "repo:modified", "pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted",
		"pr:comment:added", "pr:comment:edited"},
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fakebitbucket", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flavor := flags.String("flavor", string(bitbuckettest.Cloud), "which `one` to be: cloud or data-center")
	listen := flags.String("listen", defaultListen, "loopback `address` to listen on; with port 0, any free one")
	data := flags.String("data", "", "`directory` of the repositories, the token and the secret; one below the directory for temporary files if not given")
	hook := flags.String("hook", "", "`URL` of a webhook of the repository to begin with, if the bot is not to register its own")
	repo := flags.String("repo", "octo/hello", "`name` of the repository to begin with")
	private := flags.Bool("private", false, "make that repository a private one")
	version := flags.String("version", "", "`version` of a Data Center, such as 7.21.0")
	below := flags.String("context", "", "`path` that a Data Center is below, such as /bitbucket")
	breaker := flags.Int("breaker", 0, "`failures` in a row after which a Data Center skips a webhook for a while; 0 for never")
	addressFile := flags.String("address-file", "", "`file` to write the URL to once it can be used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("there is no argument %q; see the documentation of the command", flags.Arg(0))
	}
	if err := forgetest.Loopback(*listen); err != nil {
		return err
	}
	dir, err := filepath.Abs(cmp.Or(*data, filepath.Join(os.TempDir(), "fakebitbucket-"+*flavor)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	out := &teller{forgetest.Teller{W: stdout}}
	hub, err := bitbuckettest.NewServer(bitbuckettest.Options{Flavor: bitbuckettest.Flavor(*flavor), URL: address, Dir: filepath.Join(dir, "repositories"),
		DataCenter:    bitbuckettest.DataCenterOptions{Version: *version, Context: *below, Breaker: *breaker},
		DeliverPushes: true, Control: true, Reported: out.status, Delivered: out.delivery})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer hub.Close()
	tokenFile, secretFile := filepath.Join(dir, "token"), filepath.Join(dir, "webhook.secret")
	password, err := begin(hub, *repo, *private, tokenFile)
	if err == nil && *hook != "" {
		err = register(hub, *repo, *hook, secretFile, events[bitbuckettest.Flavor(*flavor)])
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return out.Serve(ctx, listener, hub, "Bitbucket", func() error {
		owner, _, _ := strings.Cut(*repo, "/")
		clone := strings.Replace(hub.CloneURL(*repo), "://", "://"+strings.TrimPrefix(owner, "~")+":"+password+"@", 1)
		out.Say(`Bitbucket (%s) is at %s. What the bot has to know:

  an access token with all scopes, in the file %s
`, *flavor, hub.WebURL(), tokenFile)
		if *hook != "" {
			out.Say("  the secret of the webhook, in the file %s\n", secretFile)
		} else {
			out.Say("The bot has to register its webhook, or somebody by add-hook: there is no -hook.\n")
		}
		out.Say("A repository with a buildspec, to clone and to push to:\n\n  git clone %s\n", clone)
		if *addressFile == "" {
			return nil
		}
		return forgetest.WriteFile(*addressFile, address)
	})
}

// begin makes the repository that there is to begin with and a token for all beside it, and returns its owner's password for
// git.
func begin(hub *bitbuckettest.Server, repo string, private bool, tokenFile string) (password string, err error) {
	about, err := hub.AddRepo(repo, bitbuckettest.RepoOptions{Private: private})
	if err != nil {
		return "", err
	}
	workspace, _, _ := strings.Cut(repo, "/")
	o := bitbuckettest.TokenOptions{Kind: bitbuckettest.WorkspaceToken, Workspace: workspace}
	if hub.Flavor() == bitbuckettest.DataCenter {
		o = bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: about.Project}
	}
	token, err := hub.AddToken(o)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(tokenFile, []byte(token.Value+"\n"), 0o600); err != nil {
		return "", err
	}
	password = hub.AddUser(strings.TrimPrefix(workspace, "~")).Password
	dir, err := hub.RepoDir(repo)
	if err != nil {
		return "", err
	}
	if isNew, err := forgetest.IsNew(dir); err != nil || !isNew {
		return password, err
	}
	_, err = hub.Commit(repo, "main", bitbuckettest.Change{Message: "Begin", Files: forgetest.Hello})
	return password, err
}

// register registers a webhook.
func register(hub *bitbuckettest.Server, repo, address, secretFile string, events []string) error {
	secret, err := forgetest.LoadSecret(secretFile)
	if err != nil {
		return err
	}
	_, err = hub.AddHook(repo, bitbuckettest.Hook{Name: "fakebitbucket", URL: address, Secret: secret, Active: true, Events: events})
	return err
}

// A teller tells people what happens.
type teller struct{ forgetest.Teller }

func (t *teller) status(s bitbuckettest.Status) {
	t.Say("status   %s %.7s %-30s %-12s %s", s.Repository, s.SHA, cmp.Or(s.Name, s.Key), s.State, s.Description)
}

func (t *teller) delivery(d bitbuckettest.Delivery) {
	t.Say("delivery %s %s: %s (%d)", d.GUID, d.Event, d.Status, d.StatusCode)
}
