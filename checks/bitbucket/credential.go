package bitbucket

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// A Credential is what some repositories are reached by: an access token, a person's API token with that person's Email, or an OAuth
// consumer.
type Credential struct {
	Repositories []string // workspace/slug, or workspace/*; of a Data Center KEY/slug
	Project      string   // Cloud: key of the project that workspace/* is limited to
	Token        string
	Email        string // Cloud: of a person's API token
	Username     string // for git, of a person's token
	Consumer     Consumer
}

// A Consumer is an OAuth consumer, which is given tokens for a while.
type Consumer struct{ Key, Secret string }

// A credential is a Credential with what is known of it.
type credential struct {
	Credential
	h       *Host
	number  int64
	account int64 // number of the first credential of the same account
	shared  int   // how many are of that account

	mu      sync.Mutex
	own     string    // id of the account that it acts as, once that was seen
	given   string    // the consumer's token
	expires time.Time // and how long it may be used
}

func newCredential(h *Host, c Credential) (*credential, error) {
	made := &credential{Credential: c, h: h, number: number(h.host(), &c)}
	switch consumer := c.Consumer.Key != "" || c.Consumer.Secret != ""; {
	case len(c.Repositories) == 0:
		return nil, fmt.Errorf("a credential of %s is for no repository", h.Name)
	case consumer && c.Token != "", !consumer && c.Token == "":
		return nil, fmt.Errorf("the credential of %s for %s needs a token or a consumer", h.Name, made.title())
	case consumer && (c.Consumer.Key == "" || c.Consumer.Secret == ""):
		return nil, fmt.Errorf("the consumer of %s for %s needs a key and a secret", h.Name, made.title())
	case consumer && h.DataCenter:
		return nil, fmt.Errorf("the credential of %s for %s is a consumer, which Data Center has not: make an HTTP access token", h.Name, made.title())
	case strings.ContainsAny(c.Token+c.Email+c.Username+c.Consumer.Key+c.Consumer.Secret, "\r\n\x00"):
		return nil, fmt.Errorf("the credential of %s for %s has a line break", h.Name, made.title())
	}
	for _, name := range c.Repositories {
		if owner, slug, ok := strings.Cut(name, "/"); !ok || !plainName(owner) || slug != "*" && !plainName(slug) {
			return nil, fmt.Errorf("a credential of %s is for %q, which is neither WORKSPACE/REPOSITORY nor WORKSPACE/*", h.Name, clip(name, 100))
		}
	}
	return made, nil
}

// plainName reports whether a name may be the part of a repository's name before or after the slash.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 200 && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\?#%*[]{}<>\"'`", r)
	})
}

// number is that of a credential: the same as long as it is for the same.
func number(host string, c *Credential) int64 {
	names := make([]string, len(c.Repositories))
	for i, name := range c.Repositories {
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.ToLower(host) + "\n" + strings.ToLower(c.Project) + "\n" + strings.Join(names, "\n")))
	return 1 + int64(binary.BigEndian.Uint64(sum[:8])>>12) // what a page may do with numbers is exact up to 53 bits
}

// title says what a credential is for.
func (c *credential) title() string {
	title := c.Repositories[0]
	if c.Project != "" {
		title += " of project " + c.Project
	}
	if more := len(c.Repositories) - 1; more > 0 {
		title += fmt.Sprintf(" and %d more", more)
	}
	return title
}

// covers reports whether a credential is for a repository by its name.
func (c *credential) covers(name string) bool {
	owner, _, _ := strings.Cut(name, "/")
	return slices.ContainsFunc(c.Repositories, func(of string) bool {
		return strings.EqualFold(of, name) || strings.EqualFold(of, owner+"/*")
	})
}

// owns reports whether a repository is in a workspace or project of which the credential has some: others are those of forks.
func (c *credential) owns(name string) bool {
	owner, _, _ := strings.Cut(name, "/")
	return slices.ContainsFunc(c.Repositories, func(of string) bool {
		other, _, _ := strings.Cut(of, "/")
		return strings.EqualFold(other, owner)
	})
}

// Installation gives the number of the credential that is for a repository by its name, 0 for none. It is the same after a restart, and
// with another token.
func (h *Host) Installation(repo string) int64 {
	if n, ok := h.known.owner(repo); ok { // of two for one workspace, each for a project of it
		return n
	}
	for _, c := range h.credentials {
		if c.covers(repo) {
			return c.number
		}
	}
	return 0
}

// Installations gives the credentials, as what repositories are reached by.
func (h *Host) Installations() []store.Installation {
	list := make([]store.Installation, len(h.credentials))
	for i, c := range h.credentials {
		list[i] = store.Installation{Forge: h.Name, Host: h.host(), ID: c.number, Account: c.title(), Selection: "selected", Updated: h.Now()}
		if slices.ContainsFunc(c.Repositories, func(name string) bool { return strings.HasSuffix(name, "/*") }) {
			list[i].Selection = "all"
		}
	}
	return list
}

// of gives the credential of a repository: the one that it was reached by, which also is for forks of what it is for, or the first for
// its name.
func (h *Host) of(r store.Repo) (*credential, error) {
	for _, wanted := range []int64{r.Installation, h.Installation(r.Name)} {
		for _, c := range h.credentials {
			if wanted != 0 && c.number == wanted {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("no credential of %s is for %s: add it to the repositories of one", h.Name, r.Name)
}

// self gives the id of the account that a credential acts as, empty if nobody knows yet.
func (c *credential) self() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

// learn remembers the id of the account that a credential acts as.
func (c *credential) learn(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = cmp.Or(id, c.own)
}

// hide takes the credential's secrets out of a text, in case that somebody has put one there.
func (c *credential) hide(text string) string {
	c.mu.Lock()
	given := c.given
	c.mu.Unlock()
	for _, secret := range []string{c.Token, c.Consumer.Secret, given} {
		if secret == "" {
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), basicOf(c.Email, secret), basicOf(c.Consumer.Key, secret)} {
			text = strings.ReplaceAll(text, form, "…")
		}
	}
	return text
}

// basicOf is how a name and a secret stand in a header.
func basicOf(name, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(name + ":" + secret))
}

const (
	// tokenMargin is how long before its end a consumer's token is no longer used.
	tokenMargin = 5 * time.Minute
	// tokenLife is how long a token is used where Bitbucket does not say.
	tokenLife = time.Hour
)

// errToken says that Bitbucket gave no token, which it may another time.
var errToken = errors.New("Bitbucket gives no token for the consumer")

// token gives the token that requests are made with. One of a consumer is asked for, and kept until shortly before it expires.
func (c *credential) token(ctx context.Context) (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.given != "" && c.h.Now().Before(c.expires) {
		return c.given, nil
	}
	var token string
	var life time.Duration
	err := checks.AskAgain(ctx, unanswered, func() (err error) {
		token, life, err = c.ask(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	c.given, c.expires = token, c.h.Now().Add(max(life-tokenMargin, life/2))
	return token, nil
}

// ask asks for a token of the consumer. Whoever answers is told the secret: no other address than the configured one is.
func (c *credential) ask(ctx context.Context) (token string, life time.Duration, err error) {
	h := c.h
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Web+"/site/oauth2/access_token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", userAgent)
	request.SetBasicAuth(c.Consumer.Key, c.Consumer.Secret)
	h.Requests.Add(1)
	answer, err := h.client.Do(request)
	if err != nil {
		h.Failures.Add(1)
		return "", 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		h.Failures.Add(1)
		none := fmt.Errorf("%w: status %d", errToken, answer.StatusCode)
		switch {
		case answer.StatusCode == http.StatusTooManyRequests:
			return "", 0, &checks.WaitError{Until: h.limits.RetryAt(answer.Header), Err: none}
		case answer.StatusCode < http.StatusInternalServerError:
			return "", 0, &failure{status: answer.StatusCode, method: http.MethodPost, path: "/site/oauth2/access_token",
				text: fmt.Sprintf("Bitbucket does not know the consumer of %s, or has it expired: look at its key and secret, and whether it is private", c.title())}
		}
		return "", 0, none
	}
	var given struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return "", 0, err
	}
	if err := json.Unmarshal(text, &given); err != nil || given.Token == "" || strings.ContainsAny(given.Token, "\r\n\x00") {
		return "", 0, fmt.Errorf("%w: its answer has none", errToken)
	}
	life = time.Duration(given.Expires) * time.Second
	if life <= 0 {
		life = tokenLife
	}
	return given.Token, life, nil
}

// forget forgets a token that was refused, and reports whether there may be another one.
func (c *credential) forget(refused string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.given == refused {
		c.given = ""
	}
	return c.Token == ""
}
