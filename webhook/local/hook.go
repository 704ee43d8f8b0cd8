package local

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"buildsmith/store"
)

// called is what the hook tells the server.
type called struct {
	Repo, Pusher string
}

// hookTime is how long a push waits for the decision on it, so that it can print the addresses of its builds.
const hookTime = 10 * time.Second

// Run answers the hook on its socket, and looks for pushes that nobody told of, until ctx is done.
func (f *Forge) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looking.Go(func() { f.look(ctx) })
	if err := os.Remove(f.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listening for the hook: %w", err)
	}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		return fmt.Errorf("listening for the hook: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(f.hook), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listening for the hook: %w", err)
	}
	return nil
}

func (f *Forge) hook(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+f.token)) != 1 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var c called
	if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&c); err != nil || !valid(c.Repo) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.Store.At("refs moved")
	numbers, remarks, err := f.reconcile(r.Context(), c.Repo, or(c.Pusher, "local"))
	if err != nil {
		f.Log.Error("comparing refs in a push", "repo", c.Repo, "err", err)
		fmt.Fprintln(w, "buildsmith: this push will be looked at later; the server's log tells why")
		return
	}
	for _, remark := range remarks {
		fmt.Fprintln(w, "buildsmith: "+remark)
	}
	ctx, cancel := context.WithTimeout(r.Context(), hookTime)
	defer cancel()
	for _, n := range numbers {
		fmt.Fprintln(w, "buildsmith: "+f.outcome(ctx, n))
	}
}

// outcome waits for the decision on a delivery and says it in a line.
func (f *Forge) outcome(ctx context.Context, number uint64) string {
	news, stop := f.Store.Watch()
	defer stop()
	for {
		var d store.Delivery
		var builds []store.Build
		err := f.Store.View(func(tx *store.Tx) (err error) {
			if d, _, err = tx.Delivery(number); err != nil {
				return err
			}
			for _, id := range d.Builds {
				b, err := tx.Build(id)
				if err != nil {
					return err
				}
				builds = append(builds, b)
			}
			return nil
		})
		switch {
		case err != nil:
			return "delivery " + fmt.Sprint(number) + " is stored"
		case len(builds) > 0:
			line := ""
			for i := range builds {
				if i > 0 {
					line += "\nbuildsmith: "
				}
				line += d.Summary + ": " + f.Page(&builds[i])
			}
			return line
		case !d.Pending():
			return d.Summary + ": no build: " + d.Reason
		}
		select {
		case <-ctx.Done():
			return d.Summary + ": delivery " + fmt.Sprint(number) + " waits for a decision"
		case <-news:
		}
	}
}

// Hook is the post-receive hook, inside a push: it tells the server and prints what the server says. It never fails a push,
// whose refs have moved already.
func Hook(out io.Writer) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := callServer(out); err != nil {
		fmt.Fprintln(out, "buildsmith: the server does not answer; it will look at this push when it does")
	}
}

func callServer(out io.Writer) error {
	body, err := json.Marshal(called{Repo: os.Getenv("BUILDSMITH_HOOK_REPO"), Pusher: os.Getenv("BUILDSMITH_HOOK_PUSHER")})
	if err != nil {
		return err
	}
	socket := os.Getenv("BUILDSMITH_HOOK_SOCKET")
	client := &http.Client{Timeout: hookTime + 5*time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequest(http.MethodPost, "http://buildsmith/hook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("BUILDSMITH_HOOK_TOKEN"))
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", answer.Status)
	}
	_, err = io.Copy(out, answer.Body)
	return err
}
