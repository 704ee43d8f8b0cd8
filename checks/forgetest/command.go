package forgetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Loopback refuses an address that others can reach: whoever reaches the server can do with it what he wants.
func Loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not a loopback address", address)
	}
	return nil
}

// LoadSecret reads a secret from a file, or makes one.
func LoadSecret(file string) (string, error) {
	data, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(data)), err
	}
	secret := RandomHex(20)
	return secret, os.WriteFile(file, []byte(secret+"\n"), 0o600)
}

// WriteFile writes a file that a script waits for, so that it never sees half of it.
func WriteFile(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Drive drives a running fake from the command line: method is do or get, program what the command is called, and address
// where the fake is unless -at says something else. What it answers goes to stdout.
func Drive(ctx context.Context, program, address, method string, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(program+" "+method, flag.ContinueOnError)
	flags.SetOutput(stderr)
	at := flags.String("at", address, "`URL` of the running "+program)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("what to " + method + " is not said; see the documentation of the command")
	}
	values, query := map[string]any{}, url.Values{}
	for _, arg := range flags.Args()[1:] {
		name, value, found := strings.Cut(arg, "=")
		if !found {
			return fmt.Errorf("%q is not KEY=TEXT or KEY:=JSON", arg)
		}
		if name, found := strings.CutSuffix(name, ":"); found && method == "do" {
			values[name] = json.RawMessage(value)
			continue
		}
		query.Set(name, value)
		values[name] = value
	}
	where := strings.TrimSuffix(*at, "/") + ControlBase + flags.Arg(0)
	verb, body := http.MethodGet, []byte(nil)
	if method == "do" {
		verb = http.MethodPost
		var err error
		if body, err = json.Marshal(values); err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
	} else if len(query) > 0 {
		where += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, verb, where, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, flags.Arg(0), resp.Status)
	}
	return nil
}
