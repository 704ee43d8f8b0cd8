package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"buildsmith/checks/web"

	"github.com/spf13/cobra"
)

// A client asks a server through its API.
type client struct {
	server string
	data   string
	http   http.Client
}

// flags adds the flags by which a server is found.
func (c *client) flags(cmd *cobra.Command) {
	standard := os.Getenv("BUILDSMITH_SERVER")
	if standard == "" {
		standard = "http://127.0.0.1:8080"
	}
	cmd.Flags().StringVar(&c.server, "server", standard, "address of the server (BUILDSMITH_SERVER)")
	cmd.Flags().StringVar(&c.data, "data", defaultData(), "data directory of a server here, whose token is used if BUILDSMITH_TOKEN is not set")
}

// token gives the admin token, and where it is from.
func (c *client) token() (token, from string, err error) {
	if token := os.Getenv("BUILDSMITH_TOKEN"); token != "" {
		return token, "BUILDSMITH_TOKEN", nil
	}
	path := filepath.Join(c.data, "admin.token")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("no admin token: set BUILDSMITH_TOKEN, or name the server's data directory by --data (%w)", err)
	}
	return strings.TrimSpace(string(text)), path, nil
}

// open makes a request and gives the answer's body, which the caller closes.
func (c *client) open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	token, from, err := c.token()
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimSuffix(c.server, "/"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("--server %s is no address; write one such as https://ci.example.org", c.server)
	}
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, base.String()+path, in)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		var sent *url.Error
		if errors.As(err, &sent) {
			err = sent.Err // the address is told once
		}
		return nil, fmt.Errorf("asking the server at %s: %w; --server or BUILDSMITH_SERVER names another", base, err)
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		if answer.StatusCode == http.StatusUnauthorized {
			return nil, &refusal{answer.StatusCode, fmt.Sprintf("the server at %s does not take the admin token of %s; its own is in the file admin.token of its data directory", base, from)}
		}
		return nil, problemOf(answer)
	}
	return answer.Body, nil
}

// A refusal is what a server says that did not do what it was asked for.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// problemOf reads a refusal.
func problemOf(answer *http.Response) error {
	var told struct{ Error string }
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil || json.Unmarshal(text, &told) != nil || told.Error == "" {
		told.Error = "the server answers " + answer.Status
	}
	return &refusal{answer.StatusCode, told.Error}
}

// get asks for something and decodes the answer.
func (c *client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

func (c *client) do(ctx context.Context, method, path string, body, v any) error {
	in, err := c.open(ctx, method, path, body)
	if err != nil {
		return fault(err)
	}
	defer in.Close()
	if err := json.NewDecoder(in).Decode(v); err != nil {
		return fault(fmt.Errorf("reading the server's answer: %w", err))
	}
	return nil
}

func buildPath(id string) string { return "/api/builds/" + url.PathEscape(id) }

// retryLog is how long to wait before a log is asked for again whose connection broke.
const retryLog = time.Second

// copyLog prints a log from its beginning. Following, it goes on until the build is over, over broken connections too; a
// server that never answered, or says no, is not asked again.
func (c *client) copyLog(ctx context.Context, id string, follow bool, out io.Writer) error {
	var offset int64
	answered := false
	for failures := 0; ; {
		path := fmt.Sprintf("%s/log?from=%d", buildPath(id), offset)
		if follow {
			path += "&follow=1"
		}
		in, err := c.open(ctx, http.MethodGet, path, nil)
		if err == nil {
			answered = true
			var n int64
			n, err = io.Copy(out, in)
			in.Close()
			offset += n
			if n > 0 {
				failures = 0
			}
		}
		var refused *refusal
		if !follow || ctx.Err() != nil || !answered || errors.As(err, &refused) && refused.status < http.StatusInternalServerError {
			return err
		}
		var b web.Build
		if asked := c.get(ctx, buildPath(id), &b); asked == nil && b.Done && offset >= b.LogBytes {
			return nil
		} else if asked != nil {
			err = errors.Join(err, asked)
		}
		if failures++; failures > 30 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryLog):
		}
	}
}
