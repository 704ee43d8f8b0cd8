package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket"
	"buildsmith/checks/web"
	"buildsmith/runner/agent"
	"buildsmith/runner/source"
	"buildsmith/store"
	"buildsmith/webhook"
	frombitbucket "buildsmith/webhook/bitbucket"
)

// A bucket is a Bitbucket, as configured.
type bucket struct {
	config  *Bitbucket
	address string // of its deliveries; empty if none come
	host    *bitbucket.Host
	secrets []string

	mu       sync.Mutex
	findings []bitbucket.Finding
	read     time.Time
	err      error
}

// openBuckets gives the Bitbuckets that are configured. refused is told what they refuse.
func openBuckets(c *Config, log *slog.Logger, refused func(forge, host string, installation int64, text string)) ([]*bucket, error) {
	var list []*bucket
	for n := range c.Forges.Bitbucket {
		config := &c.Forges.Bitbucket[n]
		secrets, err := config.hookSecrets(c.Data)
		if err != nil {
			return nil, fmt.Errorf("forges.bitbucket[%d]: %w", n, err)
		}
		b, err := openBucket(c, config, secrets, log, refused)
		if err != nil {
			return nil, fmt.Errorf("forges.bitbucket[%d]: %w", n, err)
		}
		list = append(list, b)
	}
	return list, nil
}

// openBucket gives a Bitbucket whose deliveries are signed with one of the secrets, the first of which is given to webhooks.
func openBucket(c *Config, config *Bitbucket, secrets []string, log *slog.Logger, refused func(forge, host string, installation int64, text string)) (*bucket, error) {
	b := &bucket{config: config, secrets: secrets}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	people := map[string]store.Permission{}
	for id, right := range config.People {
		people[id] = peopleRights[right]
	}
	var credentials []bitbucket.Credential
	for n := range config.Credentials {
		credential, err := config.Credentials[n].read()
		if err != nil {
			return nil, fmt.Errorf("credentials[%d]: %w", n, err)
		}
		credentials = append(credentials, credential)
	}
	settings := bitbucket.Config{Name: config.Name, Web: config.URL, API: config.API, DataCenter: config.Kind == kindDataCenter, Credentials: credentials, People: people,
		Page: c.URL + "/builds/", Transport: transport, Log: log, Refused: func(installation int64, text string) { refused(config.Name, b.hostName(), installation, text) }}
	if config.Deliveries == byWebhook {
		b.address = c.URL + "/webhook/" + config.Name
		if config.Hooks == hooksCreate {
			settings.Hook, settings.HookSecret = b.address, secrets[0]
			for n := range c.Forges.Bitbucket {
				if other := c.Forges.Bitbucket[n].Name; other != config.Name {
					settings.OtherHooks = append(settings.OtherHooks, c.URL+"/webhook/"+other)
				}
			}
		}
	}
	b.host, err = bitbucket.New(settings)
	return b, err
}

func (c *Credential) read() (bitbucket.Credential, error) {
	credential := bitbucket.Credential{Repositories: c.Repositories, Project: c.Project, Email: c.Email, Username: c.Username}
	var err error
	if c.Consumer != nil {
		credential.Consumer.Key = c.Consumer.Key
		credential.Consumer.Secret, err = c.Consumer.Secret.read()
		return credential, err
	}
	credential.Token, err = c.Token.read()
	return credential, err
}

// hookSecrets are the secrets that may have signed a delivery, the current one first: those of the configuration, or one that is made
// and kept in <data>/forges/<name>.secret, a line each.
func (b *Bitbucket) hookSecrets(data string) ([]string, error) {
	var list []string
	for n, s := range b.WebhookSecrets {
		text, err := s.read()
		if err != nil {
			return nil, fmt.Errorf("webhook-secrets[%d]: %w", n, err)
		}
		list = append(list, text)
	}
	if len(list) > 0 {
		return list, nil
	}
	dir := filepath.Join(data, "forges")
	path := filepath.Join(dir, b.Name+".secret")
	if text, err := os.ReadFile(path); err == nil && len(strings.Fields(string(text))) > 0 {
		return strings.Fields(string(text)), nil
	} else if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("the webhooks' secret: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the webhooks' secret: %w", err)
	}
	secret := randomHex(32)
	if err := writePrivate(path, secret+"\n"); err != nil {
		return nil, fmt.Errorf("the webhooks' secret: %w", err)
	}
	return []string{secret}, syncDirectory(data)
}

// kind is what people call it.
func (b *bucket) kind() string {
	if b.config.Kind == kindCloud {
		return "Bitbucket Cloud"
	}
	return "Bitbucket Data Center"
}

// hostName is its host, as the store has it.
func (b *bucket) hostName() string {
	_, host, _ := strings.Cut(b.config.URL, "://")
	host, _, _ = strings.Cut(host, "/")
	return host
}

// name implements member.
func (b *bucket) name() string { return b.config.Name }

// publisher implements member.
func (b *bucket) publisher() checks.Publisher { return b.host }

// plain implements member.
func (b *bucket) plain() bool { return strings.HasPrefix(b.config.URL, "http://") }

// source implements member.
func (b *bucket) source() webhook.Source {
	from := frombitbucket.Config{Name: b.config.Name, Host: b.hostName(), Web: b.config.URL, DataCenter: b.config.Kind == kindDataCenter, Secrets: b.secrets,
		Installation: b.host.Installation, DefaultBranch: b.host.DefaultBranch}
	return webhook.Source{Name: b.config.Name, Host: b.hostName(), Verify: from.Verify, Hello: from.Hello, Identify: from.Identify, Decode: from.Decode, Organization: from.Organization, Forge: b.host,
		PullByCommit: true, Fetch: b.config.Deliveries == byPoll}
}

// where implements origin. Cloud has no ref for what a fork's pull request holds: its branch is fetched from the fork.
func (b *bucket) where(r store.Repo, t *store.Trigger) (source.Remote, source.Want) {
	remote := func(r store.Repo) source.Remote {
		return source.Remote{Key: r.Key(), URL: b.host.CloneURL(r.Name),
			Header: func(ctx context.Context) (string, func(), error) { return b.host.CloneHeader(ctx, r) }}
	}
	want := source.Want{Commit: t.Commit}
	switch {
	case t.PullRequest == 0:
	case b.config.Kind == kindDataCenter: // a fork may be one that the credential cannot read
		want.Refs = []string{fmt.Sprintf("refs/pull-requests/%d/from", t.PullRequest)}
	case t.HeadName != "" && t.HeadName != r.Name:
		fork := r
		fork.ID, fork.Name = "", t.HeadName
		from := remote(fork)
		want.From, want.Refs = &from, []string{t.HeadRef}
	}
	return remote(r), want
}

// credential implements origin: the tokens of Bitbucket may do more than read one repository, and no build gets one.
func (b *bucket) credential(context.Context, store.Repo) (*agent.Credential, func(), error) {
	return nil, nil, nil
}

// refresh implements member: what each credential may do is asked, and webhooks are made and mended.
func (b *bucket) refresh(ctx context.Context, s *server) error {
	findings := b.host.Examine(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := b.host.EnsureHooks(ctx)
	b.mu.Lock()
	b.findings, b.read, b.err = findings, s.store.Now(), err
	b.mu.Unlock()
	if kept := s.store.Update(b.keepCredentials); kept != nil {
		return kept
	}
	return err
}

// keepCredentials records the credentials. What was reached by one that is for other repositories now, or is no longer configured, is reached
// by the one that is for it.
func (b *bucket) keepCredentials(tx *store.Tx) error {
	list := b.host.Installations()
	if err := tx.Reassign(b.name(), b.hostName(), func(r store.Repo) int64 {
		if slices.ContainsFunc(list, func(i store.Installation) bool { return i.ID == r.Installation }) {
			return 0
		}
		return b.host.Installation(r.Name)
	}); err != nil {
		return err
	}
	return keepInstallations(tx, b.name(), b.hostName(), list)
}

// page implements member.
func (b *bucket) page(s *server) web.Forge {
	b.mu.Lock()
	findings, read, failed := b.findings, b.read, b.err
	b.mu.Unlock()
	f := web.Forge{Kind: b.kind(), Name: b.name(), Host: b.hostName(), URL: b.config.URL, Deliveries: b.config.Deliveries, HookURL: b.address, Read: read, Sweep: s.swept(b.name(), b.config.Deliveries)}
	if skew, ok := b.host.Skew(); ok {
		f.Skew = skew.Seconds()
	}
	if failed != nil {
		f.Problems = append(f.Problems, web.Lack{Text: failed.Error()})
	}
	lacks := map[int64][]bitbucket.Finding{}
	for _, finding := range findings {
		if finding.Problem || finding.Note {
			lacks[finding.Installation] = append(lacks[finding.Installation], finding)
		}
	}
	f.Problems = append(f.Problems, lacksOf(lacks[0], b.hostName())...)
	left := b.host.Remaining()
	var state store.HookState
	state, f.Installations = s.reached(b.name(), b.hostName(), func(i store.Installation) web.Installation {
		w := reachedBy(i, left)
		if !i.Removed {
			w.Problems = lacksOf(lacks[i.ID], i.Account)
		}
		return w
	})
	f.LastPing = state.Ping
	return f
}

// lacksOf are findings as pages show them below what they are about.
func lacksOf(findings []bitbucket.Finding, below string) []web.Lack {
	var list []web.Lack
	for _, f := range findings {
		text := f.Text
		if f.About != below {
			text = f.About + ": " + text
		}
		list = append(list, web.Lack{Text: text, Note: !f.Problem})
	}
	return list
}

// links implements member.
func (b *bucket) links(r store.Repo) web.Links {
	commit, pull := b.host.Links(r)
	l := web.Links{Commit: commit + "{commit}", Pull: pull + "{number}"}
	repository := strings.TrimSuffix(pull, "pull-requests/")
	if b.config.Kind == kindCloud {
		l.File, l.Line = repository+"src/{commit}/{path}", "#lines-{line}"
	} else {
		l.File, l.Line = repository+"browse/{path}?at={commit}", "#{line}"
	}
	return l
}

// traffic implements member.
func (b *bucket) traffic() traffic {
	return traffic{Requests: b.host.Requests.Load(), Failures: b.host.Failures.Load(), Writes: b.host.Writes.Load(), HeldBack: b.host.HeldBack.Load(),
		Limited: b.host.Limited(), Remaining: b.host.Remaining()}
}
