package forgetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A Request is an API request that a fake has seen.
type Request struct {
	At        time.Time `json:"at"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`      // below the base path, with the query
	Operation string    `json:"operation"` // the path as in the description; empty if it has none
	Token     string    `json:"token"`     // the credential that came with it
	Body      string    `json:"body"`
	Status    int       `json:"status"` // of the answer; 0 if the connection was cut
	Lost      bool      `json:"lost"`   // it was done, and the answer was thrown away
}

// Payload writes a payload: a []byte or json.RawMessage as it is, anything else as JSON.
func Payload(v any) ([]byte, error) {
	switch p := v.(type) {
	case []byte:
		return p, nil
	case json.RawMessage:
		return p, nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing the payload: %w", err)
	}
	return body, nil
}

// An Answer is what a bot says to a delivery.
type Answer struct {
	StatusCode int
	Header     http.Header
	Body       string // cut short if it is long
}

// Post sends a payload to a bot. If that takes too long, the error is context.DeadlineExceeded.
func Post(ctx context.Context, client *http.Client, timeout time.Duration, address string, header http.Header, payload []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(payload))
	if err != nil {
		return Answer{}, err
	}
	r.Header = header.Clone()
	resp, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // an answer cut short is an answer
	return Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: string(body)}, nil
}
