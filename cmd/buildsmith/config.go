package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	"buildsmith/webhook"

	"gopkg.in/yaml.v3"
)

// defaultImage is the build image where nobody names one. It is made on this machine, never pulled.
const defaultImage = "localhost/buildsmith-build:bookworm"

// Config is the server's configuration: one YAML file over defaults that work.
type Config struct {
	Listen  string `yaml:"listen"`
	URL     string `yaml:"url"`
	Data    string `yaml:"data"`
	Reserve Size   `yaml:"reserve"`
	TLS     struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
	} `yaml:"tls"`
	GitHub     *GitHub       `yaml:"github"`
	Forges     ForgeSettings `yaml:"forges"`
	LocalForge *bool         `yaml:"local-forge"`
	MaxPush    Size          `yaml:"max-push"`
	Checks     string        `yaml:"checks"`

	Statuses       string `yaml:"statuses"`
	StatusContext  string `yaml:"status-context"`
	SummaryComment bool   `yaml:"summary-comment"`

	Builds     BuildSettings       `yaml:"builds"`
	Commands   CommandSettings     `yaml:"commands"`
	Priorities PrioritySettings    `yaml:"priorities"`
	Slots      int                 `yaml:"slots"`
	Warm       *int                `yaml:"warm"`
	Pull       string              `yaml:"pull"`
	Docker     DockerSettings      `yaml:"docker"`
	Registries map[string]Registry `yaml:"registries"`
	CABundle   string              `yaml:"ca-bundle"`
	Proxy      Proxy               `yaml:"proxy"`
	Retention  Retention           `yaml:"retention"`
	Caches     CacheSettings       `yaml:"caches"`
	Secrets    SecretSettings      `yaml:"secrets"`
	Region     string              `yaml:"region"`
	Account    string              `yaml:"account"`
	Projects   []ProjectSettings   `yaml:"projects"`
	Log        LogSettings         `yaml:"log"`

	DecisionSettings `yaml:",inline"`

	path string // of the file, for messages
}

// GitHub is the App.
type GitHub struct {
	AppID          int64    `yaml:"app-id"`
	PrivateKey     Secret   `yaml:"private-key"`
	WebhookSecrets []Secret `yaml:"webhook-secrets"`
	URL            string   `yaml:"url"`
	Deliveries     string   `yaml:"deliveries"`
}

// BuildSettings are those that a project may change.
type BuildSettings struct {
	Image        string   `yaml:"image"`
	Timeout      Duration `yaml:"timeout"`
	QueueTimeout Duration `yaml:"queue-timeout"`
	Memory       Size     `yaml:"memory"`
	CPUs         float64  `yaml:"cpus"`
	Processes    int64    `yaml:"processes"`
	Disk         Size     `yaml:"disk"`
	LogLimit     Size     `yaml:"log-limit"`
	Network      string   `yaml:"network"`
	Sudo         *bool    `yaml:"sudo"`
	Cache        string   `yaml:"cache"`

	Concurrency *int  `yaml:"concurrency"`
	Findings    *bool `yaml:"findings"`
}

// DockerSettings say how the engine is reached.
type DockerSettings struct {
	Host    string `yaml:"host"`
	Runtime string `yaml:"runtime"`
}

// A Registry has credentials.
type Registry struct {
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
}

// Proxy is used for forges, and given to builds as variables; the environment's, without one, for forges alone.
type Proxy struct {
	HTTP  string `yaml:"http"`
	HTTPS string `yaml:"https"`
	No    string `yaml:"no"`
}

// Retention says how long things are kept.
type Retention struct {
	Builds    Duration `yaml:"builds"`
	Logs      Duration `yaml:"logs"`
	Artifacts Duration `yaml:"artifacts"`
	Mirrors   Duration `yaml:"mirrors"`
	Images    Duration `yaml:"images"`
}

// CacheSettings limit what is kept from build to build.
type CacheSettings struct {
	Size Size     `yaml:"size"`
	Age  Duration `yaml:"age"`
}

// ProjectSettings configure a project of a repository.
type ProjectSettings struct {
	Name               string              `yaml:"name"`
	Forge              string              `yaml:"forge"`
	Repository         string              `yaml:"repository"`
	RepositoryID       string              `yaml:"repository-id"`
	Buildspec          string              `yaml:"buildspec"`
	Variables          map[string]Variable `yaml:"variables"`
	Artifacts          *bool               `yaml:"artifacts"`
	SecondaryArtifacts []string            `yaml:"secondary-artifacts"`
	Overridable        []string            `yaml:"overridable"`
	FilterGroups       FilterGroups        `yaml:"filter-groups"`

	Environment *EnvironmentSettings `yaml:"environment"`

	BuildSettings    `yaml:",inline"`
	DecisionSettings `yaml:",inline"`

	filters        *webhook.Filters // FilterGroups, made ready
	filterWarnings []string         // what is hardly meant in them
}

// LogSettings are those of the server's own log.
type LogSettings struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// problems are what is wrong with a configuration, one message each.
type problems []string

func (p problems) Error() string { return strings.Join(p, "\n") }

// loadConfig reads a configuration file, or gives the defaults for an empty path. The error is a list of problems.
func loadConfig(path string) (*Config, error) {
	c := &Config{path: path}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, problems{err.Error()}
		}
		if err := c.decode(text); err != nil {
			return nil, err
		}
	}
	c.fill()
	if p := c.check(); len(p) > 0 {
		return nil, p
	}
	return c, nil
}

// decode reads the text of a configuration, and asks nothing of it but its form. The error is a list of problems.
func (c *Config) decode(text []byte) error {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return explain(c.path, err)
	}
	return nil
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type main\.(\S+)$`)
	atLine       = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	badType      = regexp.MustCompile("^cannot unmarshal !!(\\w+)(?: `(.*)`)? into (.*)$")
)

// explain turns the YAML library's errors into messages with file and line.
func explain(path string, err error) problems {
	var typed *yaml.TypeError
	list := []string{err.Error()}
	if errors.As(err, &typed) {
		list = typed.Errors
	}
	var p problems
	for _, text := range list {
		if m := unknownField.FindStringSubmatch(text); m != nil {
			p = append(p, fmt.Sprintf("%s:%s: unknown key %q; known here: %s", path, m[1], m[2], strings.Join(keysOf(m[3]), ", ")))
			continue
		}
		line, rest := "1", strings.TrimPrefix(text, "yaml: ")
		if m := atLine.FindStringSubmatch(text); m != nil {
			line, rest = m[1], m[2]
		}
		if m := badType.FindStringSubmatch(rest); m != nil {
			rest = fmt.Sprintf("%q is %s where %s belongs", m[2], inWords(m[1]), inWords(strings.TrimPrefix(m[3], "main.")))
		}
		p = append(p, fmt.Sprintf("%s:%s: %s", path, line, rest))
	}
	return p
}

// inWords names a kind of YAML's, or a type of the configuration's.
func inWords(kind string) string {
	switch kind {
	case "str", "string":
		return "a text"
	case "int", "int64":
		return "a whole number"
	case "float", "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "map":
		return "a block of keys"
	case "seq":
		return "a list"
	case "null":
		return "nothing"
	}
	if strings.HasPrefix(kind, "[]") {
		return "a list"
	}
	return "a block of keys"
}

// keysOf lists the keys of one of the configuration's types.
func keysOf(name string) []string {
	var keys []string
	var collect func(t reflect.Type)
	seen := map[reflect.Type]bool{}
	var find func(t reflect.Type) reflect.Type
	find = func(t reflect.Type) reflect.Type {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return nil
		}
		seen[t] = true
		if t.Name() == name {
			return t
		}
		for i := range t.NumField() {
			if found := find(t.Field(i).Type); found != nil {
				return found
			}
		}
		return nil
	}
	collect = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				collect(f.Type)
			} else if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" {
				keys = append(keys, key)
			}
		}
	}
	if t := find(reflect.TypeFor[Config]()); t != nil {
		collect(t)
	}
	return keys
}
