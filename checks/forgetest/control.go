package forgetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ControlBase is where other processes drive a fake.
const ControlBase = "/_control/"

// largestAct is the size of the largest body of an action.
const largestAct = 8 << 20

// A Control are the addresses below ControlBase of a fake: POST acts, GET reads.
type Control[S any] struct {
	Acts  map[string]func(S, []byte) (any, error)
	Reads map[string]func(S, context.Context, url.Values) (any, error)
}

// Act makes an action of a function, whose argument is read from JSON; keys that it does not have are refused.
func Act[S, T any](f func(S, T) (any, error)) func(S, []byte) (any, error) {
	return func(s S, body []byte) (any, error) {
		var in T
		if len(body) > 0 {
			d := json.NewDecoder(bytes.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(&in); err != nil {
				return nil, fmt.Errorf("reading the body: %w", err)
			}
		}
		return f(s, in)
	}
}

// Serve answers GET with what there is, and POST by doing something.
func (c Control[S]) Serve(s S, w http.ResponseWriter, r *http.Request) {
	result, err := c.controlled(s, r, strings.TrimPrefix(r.URL.Path, ControlBase))
	status := http.StatusOK
	switch {
	case errors.Is(err, fs.ErrNotExist):
		status = http.StatusNotFound
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
	case err != nil:
		status = http.StatusBadRequest
	}
	if err != nil {
		result = map[string]string{"error": err.Error()}
	}
	body, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // the reader may have gone
}

func (c Control[S]) controlled(s S, r *http.Request, name string) (any, error) {
	if r.Method == http.MethodGet {
		read := c.Reads[name]
		if read == nil {
			return nil, fmt.Errorf("GET %s%s: %w; there are %q", ControlBase, name, fs.ErrNotExist, slices.Sorted(maps.Keys(c.Reads)))
		}
		return read(s, r.Context(), r.URL.Query())
	}
	act := c.Acts[name]
	if r.Method != http.MethodPost || act == nil {
		return nil, fmt.Errorf("%s %s%s: %w; there are %q", r.Method, ControlBase, name, fs.ErrNotExist, slices.Sorted(maps.Keys(c.Acts)))
	}
	// No page in a browser can send this type without being asked first.
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil, errors.New("the content type is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, largestAct))
	if err != nil {
		return nil, err
	}
	return act(s, body)
}

// A FaultAct is a Fault as an action takes it.
type FaultAct struct {
	Fault
	Delay string `json:"delay"` // such as 200ms
}

// Read returns the fault.
func (a FaultAct) Read() (Fault, error) {
	err := readDurations(map[*time.Duration]string{&a.Fault.Delay: a.Delay})
	return a.Fault, err
}

// A ChaosAct is Chaos as an action takes it.
type ChaosAct struct {
	Chaos
	Most string `json:"most"` // such as 200ms
	Hold string `json:"hold"`
}

// Read returns the chaos.
func (a ChaosAct) Read() (Chaos, error) {
	err := readDurations(map[*time.Duration]string{&a.Chaos.Most: a.Most, &a.Chaos.Hold: a.Hold})
	return a.Chaos, err
}

// readDurations reads those that are given.
func readDurations(texts map[*time.Duration]string) error {
	for to, text := range texts {
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		*to = d
	}
	return nil
}
