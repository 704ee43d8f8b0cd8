// Package secret gives builds the values of their secrets: what env.parameter-store and env.secrets-manager of a buildspec
// name. It asks, in this order, the server's own secrets (store.Secrets), directories of files as Docker and Kubernetes
// mount them, and AWS. The first that has a name decides, whether it gives the value or not: a name means one thing.
//
// Everywhere rules say which projects and refs may read; a commit of another repository reads nothing.
package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"buildsmith/store"
)

// ErrReference says that a reference is not understood, or asks for what there cannot be.
var ErrReference = errors.New("no reference of a secret")

// A failure is the author's: its text is for the build's log and gives neither a value nor a secret's existence away.
type failure struct {
	kind  error // fs.ErrNotExist, fs.ErrPermission or ErrReference
	text  string
	cause error // for the operator's log; may be nil
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

func fail(kind error, format string, args ...any) error {
	return &failure{kind, fmt.Sprintf(format, args...), nil}
}

// A fault is ours. Its text is what people may be told who see the build; the cause, which can name accounts, roles and
// addresses, is for the operator's log.
type fault struct {
	text  string
	cause error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.cause }

// Authors reports whether an error of Resolve is the author's failure, such as a name that does not exist. Any other is a
// fault: a network, credentials, a file that cannot be read.
func Authors(err error) bool {
	var f *failure
	return errors.As(err, &f)
}

// Config says where secrets come from; the zero value has none.
type Config struct {
	Own         *store.Secrets // nil for none
	Directories []Directory
	AWS         *AWS // nil for none

	// Log is the operator's. Without one whoever reads an error is the operator: it tells all that is known.
	Log *slog.Logger
}

// Secrets gives builds their secrets. Its methods may be called at the same time.
type Secrets struct {
	Config
	aws   *amazon
	alone bool // nobody else is told
}

// New makes Secrets. It fails if AWS's configuration cannot be read; it asks nobody anything.
func New(ctx context.Context, c Config) (*Secrets, error) {
	s := &Secrets{Config: c, alone: c.Log == nil}
	if s.alone {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if c.AWS != nil {
		var err error
		if s.aws, err = newAmazon(ctx, *c.AWS); err != nil {
			return nil, fmt.Errorf("AWS: %w", err)
		}
	}
	return s, nil
}

// A Wanted is one variable's reference.
type Wanted struct {
	Kind      string // store.ParameterStore or store.SecretsManager
	Reference string
}

// An Answer is what became of it. Err is an error as Resolve gives it.
type Answer struct {
	Value string
	Err   error
}

// Resolve gives a build the value that a reference of a kind names. An error for which Authors holds is the author's:
// fs.ErrNotExist (no such name, version or JSON key, or no JSON), fs.ErrPermission (no access) or ErrReference. The texts of
// the first two are the same for one name, so that a build is not told whether what it may not read exists. No error's text
// has a value.
func (s *Secrets) Resolve(ctx context.Context, b *store.Build, kind, reference string) (string, error) {
	a := s.ResolveAll(ctx, b, []Wanted{{kind, reference}})[0]
	return a.Value, a.Err
}

// inFlight is how many secrets are asked for at a time.
const inFlight = 4

// ResolveAll gives the answer to each of what a build wants, in that order: see Resolve. Nobody is asked for the same
// version of a secret twice.
func (s *Secrets) ResolveAll(ctx context.Context, b *store.Build, wanted []Wanted) []Answer {
	type fetched struct {
		text string
		err  error
	}
	asked := map[source]*fetched{}
	list := make([]source, len(wanted))
	keys := make([]string, len(wanted))
	answers := make([]Answer, len(wanted))
	var wait sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i, w := range wanted {
		list[i], keys[i], answers[i].Err = sourceOf(w)
		if answers[i].Err != nil || asked[list[i]] != nil {
			continue
		}
		f := &fetched{}
		asked[list[i]] = f
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f.text, f.err = s.fetch(ctx, b, list[i])
		})
	}
	wait.Wait()
	for i := range answers {
		a := &answers[i]
		if a.Err != nil {
			continue
		}
		f := asked[list[i]]
		if a.Value, a.Err = f.text, f.err; a.Err == nil && keys[i] != "" {
			a.Value, a.Err = list[i].field(a.Value, keys[i])
		}
		if strings.ContainsRune(a.Value, 0) {
			*a = Answer{Err: fail(ErrReference, "the value of %.200q holds a NUL byte, which no variable can", list[i].id)}
		}
	}
	return answers
}

// A provider has secrets. value gives one by its name, which is the source's own unless that is an ARN. An error is one of
// errElsewhere, errDenied or errVersion, a failure, or else a fault.
type provider interface {
	value(ctx context.Context, b *store.Build, src source, name string) (string, error)
	String() string // for the operator's log
}

var (
	errElsewhere = errors.New("no such name here")
	errDenied    = errors.New("the rules do not let the build read it")
	errVersion   = errors.New("no such version")
)

// fetch asks one provider after the other. An ARN names a thing at AWS and is asked for there alone; without AWS its name
// is looked up here, so that buildspecs work that have ARNs.
func (s *Secrets) fetch(ctx context.Context, b *store.Build, src source) (string, error) {
	if b.Trigger.Fork {
		s.Log.Warn("a commit of another repository asked for a secret", "build", b.ID, "repo", b.Repo.Name, "secret", src.id)
		return "", fail(fs.ErrPermission, "%s: the commit comes from another repository, whose builds get no secrets", src.absent())
	}
	names, arn := src.names()
	var here []provider
	if !arn || s.aws == nil {
		here = append(here, own{s.Own})
		for _, d := range s.Directories {
			here = append(here, d)
		}
	}
	if s.aws != nil {
		here, names = append(here, s.aws), names[:1]
	}
	for _, p := range here {
		for _, name := range names {
			value, err := p.value(ctx, b, src, name)
			if !errors.Is(err, errElsewhere) {
				return value, s.judge(b, src, p, err)
			}
		}
	}
	return "", s.judge(b, src, nil, errElsewhere)
}

// judge tells the operator what became of a build's question, and gives the error that the build is told.
func (s *Secrets) judge(b *store.Build, src source, p provider, err error) error {
	log := s.Log.With("build", b.ID, "repo", b.Repo.Name, "secret", src.id)
	noAccess := func(kind error) error {
		return fail(kind, "%s: %.200q is not there, or this build may not read it%s", src.absent(), src.id, s.advice(b, src))
	}
	var author *failure
	switch {
	case err == nil:
		log.Info("a build was given a secret", "from", p.String())
		return nil
	case errors.Is(err, errElsewhere):
		log.Warn("a build asked for a secret that is not there")
		return noAccess(fs.ErrNotExist)
	case errors.Is(err, errDenied):
		log.Warn("a build asked for a secret that it may not read", "from", p.String(), "ref", b.Trigger.HeadRef)
		return noAccess(fs.ErrPermission)
	case errors.Is(err, errVersion):
		return fail(fs.ErrNotExist, "%s: %.200q has no %s", src.absent(), src.id, src.which())
	case errors.As(err, &author):
		log.Warn("a build was not given a secret", "from", p.String(), "err", err, "cause", author.cause)
		return err
	}
	var ours *fault
	if errors.As(err, &ours) && s.alone {
		err = ours.cause
	} else if ours != nil {
		log.Error("a build could not be given a secret", "from", p.String(), "err", err, "cause", ours.cause)
	}
	return fmt.Errorf("reading the secret %.200q from %s: %w", src.id, p, err)
}

// advice says what to do about a secret that is not there.
func (s *Secrets) advice(b *store.Build, src source) string {
	names, arn := src.names()
	name, err := store.SecretName(names[0])
	switch {
	case arn && s.aws != nil:
		return ""
	case err != nil:
		return "; it is no name that a secret can have"
	case s.Own != nil:
		return "; `buildsmith secret set " + name + " --project " + b.Repo.Name + "` gives it one"
	case len(s.Directories) > 0:
		return "; write it into the file " + name + " below " + s.Directories[0].Path
	}
	return ""
}

// field gives the value of a key of a secret that is a JSON object. What is no text is given as its JSON.
func (src source) field(text, key string) (string, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil { // the error's text would quote the value
		return "", fail(fs.ErrNotExist, "the secret %q is no JSON object, so it has no key %.100q: leave the key out for the whole text", src.id, key)
	}
	raw, ok := object[key]
	if !ok {
		return "", fail(fs.ErrNotExist, "the secret %q has no key %.100q", src.id, key)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return "", errors.New("writing JSON") // cannot be: it was read
	}
	var value string
	if compact.Bytes()[0] == '"' && json.Unmarshal(raw, &value) == nil {
		return value, nil
	}
	return compact.String(), nil
}
