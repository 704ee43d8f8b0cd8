package secret

import (
	"fmt"
	"regexp"
	"strings"

	"buildsmith/store"
)

// A Reference is what a value of env.secrets-manager means: secret-id[:json-key[:version-stage[:version-id]]].
type Reference struct {
	ID        string // a name or an ARN
	JSONKey   string // of the JSON object that the secret is; empty for all of its text
	Stage     string // empty for AWSCURRENT
	VersionID string
}

// maxReference is how long a reference may be: AWS takes 2048 bytes for an id alone.
const maxReference = 4096

// An ARN has six fields, the last of which may have colons itself: a secret's begins with secret: and has seven so.
const arnPrefix = "arn:"

// ParseReference reads a reference. Its errors are ErrReference.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec.env.secrets-manager
func ParseReference(text string) (Reference, error) {
	fields := strings.Split(text, ":")
	ids := 1
	if strings.HasPrefix(text, arnPrefix) {
		ids = 7
		if len(fields) < ids || fields[2] != "secretsmanager" || fields[5] != "secret" || fields[6] == "" {
			return Reference{}, fail(ErrReference, "%.200q is no ARN of a secret: one looks like arn:aws:secretsmanager:<region>:<account>:secret:<name>", text)
		}
	}
	rest := append(fields[ids:], "", "", "")[:3]
	r := Reference{ID: strings.Join(fields[:ids], ":"), JSONKey: rest[0], Stage: rest[1], VersionID: rest[2]}
	switch {
	case len(text) > maxReference || strings.ContainsRune(text, 0):
		return Reference{}, fail(ErrReference, "%.50q... is too long for a reference, or holds a NUL byte", text)
	case len(fields)-ids > 3:
		return Reference{}, fail(ErrReference, "%.200q has too many colons: write secret-id:json-key:version-stage:version-id, and leave out what is not needed", text)
	case r.ID == "":
		return Reference{}, fail(ErrReference, "%.200q names no secret: write secret-id:json-key:version-stage:version-id, and leave out what is not needed", text)
	case r.Stage != "" && r.VersionID != "":
		return Reference{}, fail(ErrReference, "%.200q gives both a version's stage (%.50s) and its id (%.50s): keep one", text, r.Stage, r.VersionID)
	}
	return r, nil
}

// A Parameter is what a value of env.parameter-store means: a name or an ARN, and behind a colon a version's number or a
// label.
type Parameter struct {
	Name    string
	Version string // a number
	Label   string
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// ParseParameter reads the name of a parameter. Its errors are ErrReference.
func ParseParameter(text string) (Parameter, error) {
	fields := strings.Split(text, ":")
	names := 1
	if strings.HasPrefix(text, arnPrefix) {
		names = 6
		if len(fields) < names || fields[2] != "ssm" || !strings.HasPrefix(fields[5], "parameter/") || fields[5] == "parameter/" {
			return Parameter{}, fail(ErrReference, "%.200q is no ARN of a parameter: one looks like arn:aws:ssm:<region>:<account>:parameter/<name>", text)
		}
	}
	p := Parameter{Name: strings.Join(fields[:names], ":")}
	switch selector := fields[names:]; {
	case len(text) > maxReference || strings.ContainsRune(text, 0):
		return Parameter{}, fail(ErrReference, "%.50q... is too long for a parameter's name, or holds a NUL byte", text)
	case p.Name == "":
		return Parameter{}, fail(ErrReference, "%.200q names no parameter", text)
	case len(selector) > 1 || len(selector) == 1 && selector[0] == "":
		return Parameter{}, fail(ErrReference, "%.200q is no name of a parameter: one colon may stand in it, with a version's number or a label behind it", text)
	case len(selector) == 1 && digits.MatchString(selector[0]):
		p.Version = selector[0]
	case len(selector) == 1:
		p.Label = selector[0]
	}
	return p, nil
}

// A source is one version of a secret, wherever it is.
type source struct {
	kind    string
	id      string // as the reference has it: a name or an ARN
	stage   string // of a secret's version; of a parameter, its label
	version string // a secret's version id; of a parameter, the version's number
}

func sourceOf(w Wanted) (src source, key string, err error) {
	switch w.Kind {
	case store.SecretsManager:
		r, err := ParseReference(w.Reference)
		if r.Stage == store.StageCurrent {
			r.Stage = "" // the same
		}
		return source{w.Kind, r.ID, r.Stage, r.VersionID}, r.JSONKey, err
	case store.ParameterStore:
		p, err := ParseParameter(w.Reference)
		return source{w.Kind, p.Name, p.Label, p.Version}, "", err
	}
	return source{}, "", fail(ErrReference, "%.50q is no kind of secret", w.Kind)
}

// random is what AWS puts behind the name of a secret in its ARN.
var random = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)

// names are those by which the secret may be known here, and whether the id is an ARN.
func (src source) names() (names []string, arn bool) {
	if !strings.HasPrefix(src.id, arnPrefix) {
		return []string{src.id}, false
	}
	if src.kind == store.ParameterStore {
		_, name, _ := strings.Cut(src.id, ":parameter/")
		return []string{name}, true
	}
	name := src.id[strings.LastIndex(src.id, ":")+1:]
	if short := random.ReplaceAllString(name, ""); short != name && short != "" {
		return []string{name, short}, true
	}
	return []string{name}, true
}

// absent is CodeBuild's word for what is not there.
func (src source) absent() string {
	if src.kind == store.ParameterStore {
		return "Parameter does not exist"
	}
	return "Secret does not exist"
}

// which is the version in words.
func (src source) which() string {
	switch {
	case src.version != "":
		return "version " + fmt.Sprintf("%.100q", src.version)
	case src.stage != "":
		return "version with the stage " + fmt.Sprintf("%.100q", src.stage)
	}
	return "current version"
}
