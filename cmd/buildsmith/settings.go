package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"buildsmith/runner/docker"
	"buildsmith/store"
)

// fill puts defaults where nothing stands.
func (c *Config) fill() {
	setDefault(&c.Listen, "127.0.0.1:8080")
	setDefault(&c.Data, defaultData())
	setDefault(&c.Checks, "phases")
	setDefault(&c.Statuses, statusesOff)
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
		alone := c.GitHub == nil && len(c.Forges.Bitbucket) == 0
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
		setDefault(&g.Deliveries, byWebhook)
	}
	for n := range c.Forges.Bitbucket {
		c.Forges.Bitbucket[n].fill(n == 0, c.URL)
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
	setDefault(&b.Cache, cacheOn)
	r := &c.Retention
	setDefault(&r.Builds, Duration(365*24*time.Hour))
	setDefault(&r.Logs, Duration(90*24*time.Hour))
	setDefault(&r.Artifacts, Duration(30*24*time.Hour))
	setDefault(&r.Mirrors, Duration(30*24*time.Hour))
	setDefault(&r.Images, Duration(30*24*time.Hour))
	setDefault(&c.Caches.Size, 20<<30)
	setDefault(&c.Caches.Age, Duration(14*24*time.Hour))
	for i := range c.Projects {
		p := &c.Projects[i]
		if p.Forge == "" {
			p.Forge = c.defaultForge(p)
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

// settings are those of a build of no configured project.
func (c *Config) settings() store.Settings {
	b := &c.Builds
	return store.Settings{
		Image: b.Image, Timeout: time.Duration(b.Timeout), QueueTimeout: time.Duration(b.QueueTimeout),
		Memory: int64(b.Memory), CPUs: b.CPUs, Processes: b.Processes, Disk: int64(b.Disk), LogLimit: int64(b.LogLimit),
		Network: b.Network, Sudo: b.Sudo != nil && *b.Sudo, Cache: cacheSetting(b.Cache), BaseSpec: c.baseSpec(nil),
		Concurrency: set(b.Concurrency, 0), Findings: set(b.Findings, false),
	}
}

// cacheOn is the setting for caches of the project's own commits.
const cacheOn = "on"

func cacheSetting(text string) string {
	if text == cacheOn {
		return ""
	}
	return text
}

// projectSettings are those of a configured project: its own over the server's.
func (c *Config) projectSettings(p *ProjectSettings) store.Settings {
	s := c.settings()
	s.Required, s.Buildspec, s.Bound = true, p.Buildspec, p.RepositoryID != ""
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
	if p.Cache != "" {
		s.Cache = cacheSetting(p.Cache)
	}
	s.Concurrency, s.Findings, s.BaseSpec = set(p.Concurrency, s.Concurrency), set(p.Findings, s.Findings), c.baseSpec(p)
	s.NoArtifacts, s.SecondaryArtifacts = p.Artifacts != nil && !*p.Artifacts, p.SecondaryArtifacts
	s.Environment = p.Environment.environment()
	names := make([]string, 0, len(p.Variables))
	for name := range p.Variables {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s.Variables = append(s.Variables, store.Variable{Name: name, Value: p.Variables[name].Value, Type: p.Variables[name].Type})
	}
	return s
}

// set is the value that was given, or the standard one.
func set[T any](value *T, standard T) T {
	if value == nil {
		return standard
	}
	return *value
}

func override[T comparable](value *T, by T) {
	var zero T
	if by != zero {
		*value = by
	}
}
