package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// A Size is a number of bytes: a number, or one with K, M, G or T (and iB), all powers of 1024.
type Size int64

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	size, err := parseSize(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return at(n, "%q is no size; write a number of bytes, or one such as 512MiB or 20GiB", n.Value)
	}
	*s = Size(size)
	return nil
}

var sizeForm = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$`)

func parseSize(text string) (int64, error) {
	m := sizeForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, errors.New("no size")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, err
	}
	if m[2] != "" {
		for range strings.Index("KMGT", m[2]) + 1 {
			n *= 1024
		}
	}
	if n > 1<<62 {
		return 0, errors.New("too large")
	}
	return int64(n), nil
}

// A Duration is a time span in Go's form, with d for days.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	span, err := parseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || span < 0 {
		return at(n, "%q is no time span; write one such as 90s, 60m, 8h or 30d", n.Value)
	}
	*d = Duration(span)
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > 36500 {
			return 0, errors.New("no number of days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}

// A Secret is never in the configuration itself: it names a file or an environment variable.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// UnmarshalYAML reads where a secret is.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "a secret does not belong here; write {file: PATH} or {env: NAME}")
	}
	type plain Secret
	return n.Decode((*plain)(s))
}

func (s Secret) given() bool { return s.File != "" || s.Env != "" }

// read gives the secret, without white space around it.
func (s Secret) read() (string, error) {
	text := os.Getenv(s.Env)
	if s.File != "" {
		content, err := os.ReadFile(s.File)
		if err != nil {
			return "", err
		}
		text = string(content)
	} else if text == "" {
		return "", fmt.Errorf("the environment variable %s is not set", s.Env)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty", s.File)
	}
	return text, nil
}

func at(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}

// A Variable is a text, or {type: PARAMETER_STORE, value: NAME} for what a secret holds; SECRETS_MANAGER likewise.
type Variable struct {
	Value string
	Type  string
}

// UnmarshalYAML reads a variable.
func (v *Variable) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		v.Value = n.Value
		return nil
	}
	fields := map[string]*string{"type": &v.Type, "value": &v.Value}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		field, known := fields[n.Content[i].Value]
		if !known || n.Content[i+1].Kind != yaml.ScalarNode {
			return at(n.Content[i], "%q does not belong to a variable; write a text, or {type: PARAMETER_STORE, value: NAME}", n.Content[i].Value)
		}
		*field = n.Content[i+1].Value
	}
	if v.Type == "" || v.Value == "" {
		return at(n, "a variable is a text, or {type: PARAMETER_STORE, value: NAME}")
	}
	return nil
}
