package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// credentialSocket is where the agent hands out the credential of the build's repository. Every process of the container may
// ask: that is what env.git-credential-helper allows.
const credentialSocket = "git.sock"

// credentialTime is how long an exchange over the socket may take.
const credentialTime = 10 * time.Second

// serveCredential answers git's questions for a credential until the process ends: for the one repository, and while it is
// valid. Nothing of it lies in a file. The protocol is git's, https://git-scm.com/docs/git-credential#IOFMT.
func serveCredential(c *Credential, state, gitConfig string) error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return fmt.Errorf("the repository's address %q is none", c.URL)
	}
	socket, err := net.Listen("unix", filepath.Join(state, credentialSocket))
	if err != nil {
		return err
	}
	if err := os.Chmod(socket.Addr().String(), 0o666); err != nil {
		return err
	}
	config, err := os.OpenFile(gitConfig, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer config.Close()
	// With useHttpPath git asks for one repository and not for the whole host.
	if _, err := fmt.Fprintf(config, "\n[credential \"%s://%s\"]\n\thelper =\n\thelper = %s\n\tuseHttpPath = true\n",
		u.Scheme, u.Host, filepath.Join(ToolsDir, "codebuild-git-credential")); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(credentialTime))
				if c.answers(readCredential(conn), u) {
					fmt.Fprintf(conn, "username=%s\npassword=%s\npassword_expiry_utc=%d\n", c.Username, c.Password, c.Expires.Unix())
				}
			}()
		}
	}()
	return nil
}

// answers reports whether the credential is for what git asks about.
func (c *Credential) answers(asked map[string]string, u *url.URL) bool {
	path := func(text string) string { return strings.TrimSuffix(strings.Trim(text, "/"), ".git") }
	return asked["protocol"] == u.Scheme && asked["host"] == u.Host && strings.EqualFold(path(asked["path"]), path(u.Path)) &&
		time.Now().Before(c.Expires)
}

// readCredential reads key=value lines up to an empty one.
func readCredential(r io.Reader) map[string]string {
	asked := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(r, 16<<10))
	for lines.Scan() && lines.Text() != "" {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			asked[key] = value
		}
	}
	return asked
}

// gitCredential is the credential helper that git calls: it passes git's question to the agent and prints the answer. What
// git wants stored or erased is nobody's business.
func gitCredential(args []string, out, messages io.Writer) int {
	if len(args) != 1 || args[0] != "get" {
		return 0
	}
	conn, err := net.DialTimeout("unix", filepath.Join(StateDir, credentialSocket), credentialTime)
	if err != nil {
		fmt.Fprintln(messages, "codebuild-git-credential: the agent hands out no credential:", err)
		return 1
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(credentialTime))
	lines := bufio.NewScanner(io.LimitReader(os.Stdin, 16<<10))
	for lines.Scan() && lines.Text() != "" {
		fmt.Fprintln(conn, lines.Text())
	}
	fmt.Fprintln(conn)
	if _, err := io.Copy(out, conn); err != nil {
		fmt.Fprintln(messages, "codebuild-git-credential:", err)
		return 1
	}
	return 0
}
