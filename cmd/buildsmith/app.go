package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A storedApp is the GitHub App that was made by set-up, as it lies in app.json of the directory github below the data
// directory. Beside it lie its secrets, a file each: app.pem, webhook.secret (a line each, the current one first) and
// client.secret. All are for the server's user alone.
type storedApp struct {
	AppID      int64     `json:"app_id"`
	Slug       string    `json:"slug"`
	Name       string    `json:"name"`
	Owner      string    `json:"owner"`
	ClientID   string    `json:"client_id,omitempty"`
	URL        string    `json:"url"`        // of GitHub: https://github.com
	Deliveries string    `json:"deliveries"` // webhook or poll
	Created    time.Time `json:"created"`
	Rotated    time.Time `json:"rotated"` // when the webhook got its newest secret, if it was not the first
}

// appSecrets are the secrets of a stored App.
type appSecrets struct {
	key     string
	webhook []string
	client  string
}

func appDir(data string) string { return filepath.Join(data, "github") }

// loadApp reads the App that set-up stored; nil if it has not.
func loadApp(data string) (*storedApp, error) {
	path := filepath.Join(appDir(data), "app.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the stored App: %w", err)
	}
	var a storedApp
	if err := json.Unmarshal(text, &a); err != nil || a.AppID <= 0 || a.URL == "" {
		return nil, fmt.Errorf("the stored App: %s is damaged; restore it, or remove the directory to set up another", path)
	}
	return &a, nil
}

// loadAppSecrets reads the secrets of the stored App.
func loadAppSecrets(data string) (s appSecrets, err error) {
	read := func(name string) string {
		text, failed := os.ReadFile(filepath.Join(appDir(data), name))
		err = errors.Join(err, failed)
		return strings.TrimSpace(string(text))
	}
	s.key, s.webhook, s.client = read("app.pem"), strings.Fields(read("webhook.secret")), read("client.secret")
	if err != nil {
		return appSecrets{}, fmt.Errorf("the stored App: %w", err)
	}
	return s, nil
}

// saveApp stores an App. It is there when the last of its files is: app.json.
func saveApp(data string, a *storedApp, s appSecrets) error {
	dir := appDir(data)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("storing the App: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("storing the App: %w", err)
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("storing the App: %w", err)
	}
	for _, f := range []struct{ name, text string }{
		{"app.pem", s.key}, {"webhook.secret", strings.Join(s.webhook, "\n")}, {"client.secret", s.client}, {"app.json", string(text)},
	} {
		if err := writePrivate(filepath.Join(dir, f.name), strings.TrimSpace(f.text)+"\n"); err != nil {
			return fmt.Errorf("storing the App: %w", err)
		}
	}
	return syncDirectory(data)
}

// writePrivate writes a file that nobody else can read and that is on the disk, whole, when the call returns.
func writePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
