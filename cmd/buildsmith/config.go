package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/runner/docker"
	"buildsmith/store"

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
	GitHub     *GitHub             `yaml:"github"`
	LocalForge *bool               `yaml:"local-forge"`
	MaxPush    Size                `yaml:"max-push"`
	Checks     string              `yaml:"checks"`
	Builds     BuildSettings       `yaml:"builds"`
	Slots      int                 `yaml:"slots"`
	Warm       *int                `yaml:"warm"`
	Pull       string              `yaml:"pull"`
	Docker     DockerSettings      `yaml:"docker"`
	Registries map[string]Registry `yaml:"registries"`
	CABundle   string              `yaml:"ca-bundle"`
	Proxy      Proxy               `yaml:"proxy"`
	Retention  Retention           `yaml:"retention"`
	Region     string              `yaml:"region"`
	Account    string              `yaml:"account"`
	Projects   []ProjectSettings   `yaml:"projects"`
	Log        LogSettings         `yaml:"log"`

	path string // of the file, for messages
}

// GitHub is the App.
type GitHub struct {
	AppID          int64    `yaml:"app-id"`
	PrivateKey     Secret   `yaml:"private-key"`
	WebhookSecrets []Secret `yaml:"webhook-secrets"`
	URL            string   `yaml:"url"`
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

// Proxy is used for forges, and given to builds as variables.
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

// ProjectSettings configure a project of a repository.
type ProjectSettings struct {
	Name          string            `yaml:"name"`
	Forge         string            `yaml:"forge"`
	Repository    string            `yaml:"repository"`
	Buildspec     string            `yaml:"buildspec"`
	Variables     map[string]string `yaml:"variables"`
	BuildSettings `yaml:",inline"`
}

// LogSettings are those of the server's own log.
type LogSettings struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

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
		decoder := yaml.NewDecoder(strings.NewReader(string(text)))
		decoder.KnownFields(true)
		if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
			return nil, explain(path, err)
		}
	}
	c.fill()
	if p := c.check(); len(p) > 0 {
		return nil, p
	}
	return c, nil
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
			rest = fmt.Sprintf("%q is a %s where a %s belongs", m[2], m[1], strings.TrimPrefix(m[3], "main."))
		}
		p = append(p, fmt.Sprintf("%s:%s: %s", path, line, rest))
	}
	return p
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

// fill puts defaults where nothing stands.
func (c *Config) fill() {
	setDefault(&c.Listen, "127.0.0.1:8080")
	setDefault(&c.Data, defaultData())
	setDefault(&c.Checks, "phases")
	setDefault(&c.Pull, docker.PullMissing)
	setDefault(&c.Log.Level, "info")
	setDefault(&c.Log.Format, "text")
	setDefault(&c.Slots, max(1, runtime.NumCPU()/2))
	setDefault(&c.MaxPush, 2<<30)
	if c.Warm == nil {
		one := 1
		c.Warm = &one
	}
	if c.LocalForge == nil {
		alone := c.GitHub == nil
		c.LocalForge = &alone
	}
	if c.URL == "" {
		scheme := "http"
		if c.TLS.Certificate != "" {
			scheme = "https"
		}
		host, port, err := net.SplitHostPort(c.Listen)
		if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
			host = "localhost"
		}
		c.URL = scheme + "://" + net.JoinHostPort(host, port)
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if g := c.GitHub; g != nil {
		setDefault(&g.URL, "https://github.com")
		g.URL = strings.TrimSuffix(g.URL, "/")
	}
	b, slots := &c.Builds, max(1, c.Slots)
	setDefault(&b.Image, defaultImage)
	setDefault(&b.Timeout, Duration(60*time.Minute))
	setDefault(&b.QueueTimeout, Duration(480*time.Minute))
	setDefault(&b.Memory, Size(totalMemory()/int64(slots+1)))
	setDefault(&b.CPUs, max(1, float64(runtime.NumCPU())/float64(slots)))
	setDefault(&b.Processes, 4096)
	setDefault(&b.Disk, 20<<30)
	setDefault(&b.LogLimit, 1<<30)
	setDefault(&b.Network, store.NetworkFull)
	r := &c.Retention
	setDefault(&r.Builds, Duration(365*24*time.Hour))
	setDefault(&r.Logs, Duration(90*24*time.Hour))
	setDefault(&r.Artifacts, Duration(30*24*time.Hour))
	setDefault(&r.Mirrors, Duration(30*24*time.Hour))
	setDefault(&r.Images, Duration(30*24*time.Hour))
	for i := range c.Projects {
		p := &c.Projects[i]
		if p.Forge == "" {
			p.Forge = "local"
			if c.GitHub != nil {
				p.Forge = "github"
			}
		}
	}
}

func setDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

func defaultData() string {
	if os.Getuid() == 0 {
		return "/var/lib/buildsmith"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "buildsmith")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/var/lib/buildsmith"
	}
	return filepath.Join(home, ".local", "state", "buildsmith")
}

// totalMemory is the machine's memory in bytes.
func totalMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 2 << 30
}

// check gives everything that is wrong.
func (c *Config) check() problems {
	var p problems
	wrong := func(format string, args ...any) {
		where := c.path
		if where == "" {
			where = "configuration"
		}
		p = append(p, where+": "+fmt.Sprintf(format, args...))
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		wrong("listen: %q is no address; write host:port, such as 127.0.0.1:8080", c.Listen)
	}
	if !filepath.IsAbs(c.Data) {
		wrong("data: %q is no absolute path", c.Data)
	}
	checkURL := func(key, text string) {
		if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			wrong("%s: %q is no address; write http:// or https:// and a host, without a path", key, text)
		}
	}
	checkURL("url", c.URL)
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		wrong("tls: certificate and key belong together")
	}
	readable := func(key, path string) {
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			wrong("%s: %v", key, err)
			return
		}
		f.Close()
	}
	readable("tls.certificate", c.TLS.Certificate)
	readable("tls.key", c.TLS.Key)
	readable("ca-bundle", c.CABundle)
	secret := func(key string, s Secret) {
		switch {
		case !s.given():
			wrong("%s: missing; write {file: PATH} or {env: NAME}", key)
		case s.File != "" && s.Env != "":
			wrong("%s: file and env stand both; keep one", key)
		default:
			if _, err := s.read(); err != nil {
				wrong("%s: %v", key, err)
			}
		}
	}
	if g := c.GitHub; g != nil {
		if g.AppID <= 0 {
			wrong("github.app-id: missing; it stands on the App's page")
		}
		secret("github.private-key", g.PrivateKey)
		if len(g.WebhookSecrets) == 0 {
			wrong("github.webhook-secrets: missing; list the webhook's secret, and for a while the one before")
		}
		for i, s := range g.WebhookSecrets {
			secret(fmt.Sprintf("github.webhook-secrets[%d]", i), s)
		}
		checkURL("github.url", g.URL)
	} else if !*c.LocalForge {
		wrong("no forge is configured: github is missing and local-forge is off")
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong("%s: %q is none of %s", key, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("checks", c.Checks, "phases", "build")
	oneOf("pull", c.Pull, docker.PullMissing, docker.PullAlways, docker.PullNever)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	if c.Slots < 1 || c.Slots > 1000 {
		wrong("slots: %d is not between 1 and 1000", c.Slots)
	}
	if *c.Warm < 0 || *c.Warm > 100 {
		wrong("warm: %d is not between 0 and 100", *c.Warm)
	}
	for host, r := range c.Registries {
		if r.Username == "" {
			wrong("registries.%s.username: missing", host)
		}
		secret("registries."+host+".password", r.Password)
	}
	c.checkBuilds("builds", &c.Builds, wrong)
	seen := map[string]bool{}
	for i := range c.Projects {
		project := &c.Projects[i]
		key := fmt.Sprintf("projects[%d]", i)
		if !projectName.MatchString(project.Name) {
			wrong("%s.name: %q is no name of a project; write 2 to 150 letters, digits, - and _", key, project.Name)
		} else if key = "projects." + project.Name; seen[project.Name] {
			wrong("%s: the name stands twice", key)
		}
		seen[project.Name] = true
		if project.Repository == "" {
			wrong("%s.repository: missing; write the repository's name, such as owner/repo", key)
		}
		switch project.Forge {
		case "github":
			if c.GitHub == nil {
				wrong("%s.forge: github is not configured", key)
			}
		case "local":
			if !*c.LocalForge {
				wrong("%s.forge: the built-in forge is off", key)
			}
		default:
			wrong("%s.forge: %q is none of github, local", key, project.Forge)
		}
		for name := range project.Variables {
			if !variableName.MatchString(name) || strings.HasPrefix(name, "CODEBUILD_") {
				wrong("%s.variables: %q is no name of a variable, or is reserved", key, name)
			}
		}
		c.checkBuilds(key, &project.BuildSettings, wrong)
	}
	slices.Sort(p)
	return p
}

var (
	projectName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{1,149}$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Bounds of what a build may be given.
const (
	minMemory  = 16 << 20
	minTimeout = time.Second
	maxTimeout = 36 * time.Hour
)

// checkBuilds checks what stands; what does not stand comes from elsewhere.
func (c *Config) checkBuilds(key string, b *BuildSettings, wrong func(string, ...any)) {
	if t := time.Duration(b.Timeout); t != 0 && (t < minTimeout || t > maxTimeout) {
		wrong("%s.timeout: %v is not between 1s and 36h", key, t)
	}
	if b.Memory != 0 && b.Memory < minMemory {
		wrong("%s.memory: %d bytes are less than 16MiB", key, b.Memory)
	}
	if b.CPUs < 0 || b.CPUs > 1024 {
		wrong("%s.cpus: %v is no number of cores", key, b.CPUs)
	}
	if b.Processes < 0 || b.Processes > 0 && b.Processes < 16 {
		wrong("%s.processes: %d is less than 16", key, b.Processes)
	}
	if b.Network != "" && b.Network != store.NetworkFull && b.Network != store.NetworkNone {
		wrong("%s.network: %q is none of full, none", key, b.Network)
	}
}

// settings are those of a build of no configured project.
func (c *Config) settings() store.Settings {
	b := &c.Builds
	return store.Settings{
		Image: b.Image, Timeout: time.Duration(b.Timeout), QueueTimeout: time.Duration(b.QueueTimeout),
		Memory: int64(b.Memory), CPUs: b.CPUs, Processes: b.Processes, Disk: int64(b.Disk), LogLimit: int64(b.LogLimit),
		Network: b.Network, Sudo: b.Sudo != nil && *b.Sudo,
	}
}

// projectSettings are those of a configured project: its own over the server's.
func (c *Config) projectSettings(p *ProjectSettings) store.Settings {
	s := c.settings()
	s.Required, s.Buildspec = true, p.Buildspec
	override(&s.Image, p.Image)
	override(&s.Timeout, time.Duration(p.Timeout))
	override(&s.QueueTimeout, time.Duration(p.QueueTimeout))
	override(&s.Memory, int64(p.Memory))
	override(&s.CPUs, p.CPUs)
	override(&s.Processes, p.Processes)
	override(&s.Disk, int64(p.Disk))
	override(&s.LogLimit, int64(p.LogLimit))
	override(&s.Network, p.Network)
	if p.Sudo != nil {
		s.Sudo = *p.Sudo
	}
	names := make([]string, 0, len(p.Variables))
	for name := range p.Variables {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s.Variables = append(s.Variables, store.Variable{Name: name, Value: p.Variables[name]})
	}
	return s
}

func override[T comparable](value *T, by T) {
	var zero T
	if by != zero {
		*value = by
	}
}
