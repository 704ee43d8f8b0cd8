package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"buildsmith/runner/secret"
	"buildsmith/store"
)

// SecretSettings say where builds' secrets come from, beside the server's own.
type SecretSettings struct {
	Key         string            `yaml:"key"`
	Directories []SecretDirectory `yaml:"directories"`
	AWS         *AWSSettings      `yaml:"aws"`
}

// A SecretDirectory has a file for each secret.
type SecretDirectory struct {
	Path     string   `yaml:"path"`
	Projects []string `yaml:"projects"`
	Refs     []string `yaml:"refs"`
}

// AWSSettings say which of AWS's secrets are read.
type AWSSettings struct {
	Region   string   `yaml:"region"`
	Profile  string   `yaml:"profile"`
	Endpoint string   `yaml:"endpoint"`
	Projects []string `yaml:"projects"`
	Refs     []string `yaml:"refs"`
}

// check gives what is wrong to the function.
func (s *SecretSettings) check(wrong func(string, ...any)) {
	if s.Key != "" && !filepath.IsAbs(s.Key) {
		wrong("secrets.key: %q is no absolute path", s.Key)
	}
	rules := func(key string, projects, refs []string) {
		if err := (store.SecretRules{Projects: projects, Refs: refs}).Check(); err != nil {
			wrong("%s: %v", key, err)
		}
	}
	for i, d := range s.Directories {
		key := fmt.Sprintf("secrets.directories[%d]", i)
		rules(key, d.Projects, d.Refs)
		if !filepath.IsAbs(d.Path) {
			wrong("%s.path: %q is no absolute path", key, d.Path)
		} else if info, err := os.Stat(d.Path); err != nil {
			wrong("%s.path: %v", key, err)
		} else if !info.IsDir() {
			wrong("%s.path: %s is no directory", key, d.Path)
		}
	}
	if a := s.AWS; a != nil {
		rules("secrets.aws", a.Projects, a.Refs)
		if u, err := url.Parse(a.Endpoint); a.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			wrong("secrets.aws.endpoint: %q is no address; write https:// and a host", a.Endpoint)
		}
	}
}

// openSecrets makes what gives builds their secrets.
func (s *server) openSecrets(ctx context.Context) (err error) {
	c := s.config.Secrets
	own, err := s.store.OpenSecrets(c.Key)
	if err != nil {
		return err
	}
	switch unreadable, err := own.Unreadable(); {
	case err != nil:
		return err
	case len(unreadable) > 0:
		s.log.Warn("secrets cannot be read: they were encrypted with a key that is not in the key file; put it back, or set or remove them", "secrets", unreadable)
	}
	from := secret.Config{Own: own, Log: s.log}
	for _, d := range c.Directories {
		from.Directories = append(from.Directories, secret.Directory{Path: d.Path, Rules: store.SecretRules{Projects: d.Projects, Refs: d.Refs}})
	}
	if a := c.AWS; a != nil {
		through, err := s.config.transport()
		if err != nil {
			return err
		}
		from.AWS = &secret.AWS{Region: a.Region, Profile: a.Profile, Endpoint: a.Endpoint, Rules: store.SecretRules{Projects: a.Projects, Refs: a.Refs}}
		if t, ok := through.(*http.Transport); ok {
			from.AWS.Transport = func(to *http.Transport) {
				if to.Proxy = t.Proxy; t.TLSClientConfig != nil {
					to.TLSClientConfig = t.TLSClientConfig.Clone()
				}
			}
		}
	}
	if s.secrets, err = secret.New(ctx, from); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}
