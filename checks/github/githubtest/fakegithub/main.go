// Command fakegithub is a GitHub on the own machine, to try a bot against: see package githubtest for what it has and what
// it checks, and help.txt for how it is used.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"buildsmith/checks/forgetest"
	"buildsmith/checks/github/githubtest"
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
		err = forgetest.Drive(ctx, "fakegithub", "http://"+defaultListen, args[0], args[1:], stdout, stderr)
	} else {
		err = serve(ctx, args, stdout, stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintf(stderr, "fakegithub: %v\n", err)
		return 1
	}
	return 0
}

const defaultListen = "127.0.0.1:3999"

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fakegithub", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", defaultListen, "loopback `address` to listen on; with port 0, any free one")
	data := flags.String("data", filepath.Join(os.TempDir(), "fakegithub"), "`directory` of the repositories and of the key")
	hook := flags.String("hook", "", "`URL` of the bot's webhook, such as http://127.0.0.1:8080/webhook/github")
	appID := flags.Int64("app-id", 4711, "`number` of the GitHub App")
	repo := flags.String("repo", "octo/hello", "`name` of the repository to begin with")
	private := flags.Bool("private", false, "make that repository a private one")
	echo := flags.Bool("echo", false, "deliver the events that the bot causes itself, too")
	temporary := flags.Bool("temporary-redirects", false, "answer changes of a renamed repository with 307 instead of 301")
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
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return err
	}
	dir, err := filepath.Abs(*data)
	if err != nil {
		return err
	}
	keyFile, secretFile := filepath.Join(dir, "app.pem"), filepath.Join(dir, "webhook.secret")
	key, err := loadKey(keyFile)
	if err != nil {
		return err
	}
	secret, err := forgetest.LoadSecret(secretFile)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	out := &teller{forgetest.Teller{W: stdout}}
	hub, err := githubtest.NewServer(githubtest.Options{
		URL: address, Dir: filepath.Join(dir, "repositories"), AppID: *appID, Key: key, WebhookSecret: secret, HookURL: *hook, Echo: *echo,
		DeliverPushes: true, Control: true, TemporaryRedirects: *temporary, Changed: out.run, Delivered: out.delivery,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer hub.Close()
	token, err := begin(hub, *repo, *private)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return out.Serve(ctx, listener, hub, "GitHub", func() error {
		owner, _, _ := strings.Cut(*repo, "/")
		out.Say(`GitHub is at %[1]s. What the bot has to know:

github:
  url: %[1]s
  app-id: %[2]d
  private-key: {file: %[3]s}
  webhook-secrets: [{file: %[4]s}]

A repository with a buildspec, to clone and to push to:

  git clone http://%[5]s:%[6]s@%[7]s/%[8]s.git
`, address, *appID, keyFile, secretFile, owner, token, listener.Addr(), *repo)
		if *hook == "" {
			out.Say("Events go nowhere: there is no -hook.\n")
		}
		if *addressFile == "" {
			return nil
		}
		return forgetest.WriteFile(*addressFile, address)
	})
}

// begin makes the repository that there is to begin with, and returns its owner's password for git.
func begin(hub *githubtest.Server, repo string, private bool) (token string, err error) {
	if _, err := hub.AddRepo(repo, githubtest.RepoOptions{Private: private}); err != nil {
		return "", err
	}
	owner, _, _ := strings.Cut(repo, "/")
	token = hub.AddUser(owner)
	dir, err := hub.RepoDir(repo)
	if err != nil {
		return "", err
	}
	if isNew, err := forgetest.IsNew(dir); err != nil || !isNew {
		return token, err
	}
	_, err = hub.Commit(repo, "main", githubtest.Change{Message: "Begin", Files: forgetest.Hello})
	return token, err
}

// loadKey reads the key of the app, or makes one.
func loadKey(file string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s holds no key", file)
		}
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
}

// A teller tells people what happens.
type teller struct{ forgetest.Teller }

func (t *teller) run(c githubtest.CheckRun) {
	state := c.Status
	if c.Conclusion != "" {
		state = c.Conclusion
	}
	t.Say("check    %s %.7s %-30s %-12s %s", c.Repository, c.HeadSHA, c.Name, state, c.Title)
}

func (t *teller) delivery(d githubtest.Delivery) {
	name := d.Event
	if d.Action != "" {
		name += "." + d.Action
	}
	t.Say("delivery %s %s: %s (%d)", d.GUID, name, d.Status, d.StatusCode)
}
