package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/local"
	"buildsmith/checks/web"
	"buildsmith/runner"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/cache"
	"buildsmith/runner/docker"
	"buildsmith/runner/secret"
	"buildsmith/runner/source"
	"buildsmith/store"
	"buildsmith/webhook"
	fromlocal "buildsmith/webhook/local"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: webhooks, builds, reports, pages",
		Long: `Run the server until it is told to stop (SIGTERM or Ctrl-C). Builds that run then go on, and
the next server takes them up again.

Without a configuration the server listens on 127.0.0.1:8080 and is a forge of its own: push
to http://127.0.0.1:8080/git/<name>.git and it builds what you push. It prints an address at
which it becomes a GitHub App in one click, too.`,
		Example: `  buildsmith serve
  buildsmith serve --config /etc/buildsmith/config.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(config)
			if err != nil {
				return usage(err)
			}
			return serve(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr(), nil)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", os.Getenv("BUILDSMITH_CONFIG"), "configuration file (YAML)")
	return cmd
}

// atPoint is told each point that a build's flow passes. Programs built for crash tests set it.
var atPoint func(string)

// lookForMissed is how often deliveries that were missed are looked for, and looksPerHour how many looks an hour has, 0 for the usual.
// Programs built for crash tests set them.
var (
	lookForMissed time.Duration
	looksPerHour  int
)

// A server is everything that serve wires.
type server struct {
	config   *Config
	log      *slog.Logger
	store    *store.Store
	token    string
	secrets  *secret.Secrets
	github   atomic.Pointer[hub] // nil without GitHub, until it is set up
	setup    *setup
	buckets  []*bucket        // Bitbuckets
	local    *fromlocal.Forge // nil without the built-in forge
	docker   *docker.Docker
	mirrors  *source.Mirrors
	intake   *webhook.Intake
	reporter *checks.Reporter
	runner   *runner.Runner
	metrics  *metrics
	http     *http.Server
}

// serve runs a server until ctx is done. It logs to log, and prints to out where to set it up. ready is told the address it
// listens on; it may be nil.
func serve(ctx context.Context, c *Config, out, log io.Writer, ready func(net.Addr)) error {
	syscall.Umask(0o022)
	if t := c.TLS; t.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); err != nil {
			return usage(fmt.Errorf("tls: %w", err))
		}
	}
	s := &server{config: c, log: newLogger(log, c.Log)}
	for _, text := range c.filterWarnings() {
		s.log.Warn("a filter is valid and hardly meant so", "where", text)
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.store.Close()
	defer s.docker.Close()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return usage(fmt.Errorf("listen: %w", err))
	}
	s.log.Info("serving", "address", listener.Addr().String(), "url", c.URL, "data", c.Data, "slots", c.Slots)
	if address := s.setup.address(); address != "" {
		fmt.Fprintf(out, "To build what is at GitHub, open %s\n", address)
	}
	if ready != nil {
		ready(listener.Addr())
	}
	return s.run(ctx, listener)
}

// open makes everything, in the order in which one needs another.
func (s *server) open(ctx context.Context) (err error) {
	c := s.config
	if s.store, err = store.Open(c.Data, store.Options{At: atPoint, Reserve: int64(c.Reserve)}); err != nil {
		return usage(err)
	}
	defer func() {
		if err != nil {
			s.store.Close()
		}
	}()
	if s.token, err = store.AdminToken(c.Data); err != nil {
		return usage(err)
	}
	if err = s.openSecrets(ctx); err != nil {
		return usage(err)
	}
	program, err := keepProgram(c.Data)
	if err != nil {
		return usage(err)
	}
	if s.docker, err = newDocker(c, program, s.log); err != nil {
		return usage(err)
	}
	if s.docker.Ready(ctx) != nil {
		s.log.Warn("Docker does not answer yet; builds wait until it does")
	} else if err := s.docker.Probe(ctx); err != nil {
		return usage(err)
	}
	authorities, err := c.gitAuthorities()
	if err != nil {
		return usage(err)
	}
	if s.mirrors, err = source.New(filepath.Join(c.Data, "mirrors"), source.Options{
		CABundle: authorities, Proxy: c.Proxy.forForges().environment(), At: atPoint}, s.log); err != nil {
		return err
	}
	publishers := map[string]checks.Publisher{}
	var sources []webhook.Source
	h, err := openHub(c, s.log, s.refused)
	if err != nil {
		return usage(err)
	}
	s.github.Store(h)
	if s.buckets, err = openBuckets(c, s.log, s.refused); err != nil {
		return usage(err)
	}
	for _, m := range s.members() {
		sources, publishers[m.name()] = append(sources, m.source()), m.publisher()
		if m.plain() {
			s.mirrors.AllowPlain()
		}
	}
	s.setup = newSetup(s)
	if *c.LocalForge {
		source, err := s.openLocal()
		if err != nil {
			return err
		}
		sources, publishers[local.Name] = append(sources, source), local.Publisher{}
	}
	s.intake = webhook.New(webhook.Config{Store: s.store, Sources: sources, Projects: c.configured, Settings: c.settings(), Rules: c.rules(nil), Commands: c.Commands.commands(), ChangedFiles: s.changedFiles, SweepEvery: lookForMissed, LooksPerHour: looksPerHour, Log: s.log})
	options := c.reportOptions()
	options.URL = s.page
	s.reporter = checks.New(checks.Config{Store: s.store, Publishers: publishers, Log: s.log, Options: options})
	s.runner = runner.New(runner.Config{
		Store: s.store, Sandbox: s.docker, Source: runner.GitSource{Mirrors: s.mirrors, Where: s.where},
		Place: runner.Place{Region: c.Region, Account: c.Account, Proxy: c.Proxy.variables(),
			URL:    func(b *store.Build) string { return c.URL + "/builds/" + b.ID },
			Public: s.public},
		Credential: s.credential, Secrets: s.secrets,
		Caches: filepath.Join(c.Data, "caches"), CacheLimits: cache.Limits{Size: int64(c.Caches.Size), ProjectSize: int64(c.Caches.Size) / 2, Age: time.Duration(c.Caches.Age)},
		Log: s.log, Dir: filepath.Join(c.Data, "run"), Slots: c.Slots, Warm: *c.Warm, Program: program,
	})
	s.metrics = newMetrics(s.store, s.intake, s.reporter, s.members)
	s.http = s.handler()
	return nil
}

func newDocker(c *Config, program string, log *slog.Logger) (*docker.Docker, error) {
	auth := map[string]docker.Credentials{}
	for host, r := range c.Registries {
		auth[host] = docker.Credentials{Username: r.Username, Password: r.Password.read}
	}
	return docker.New(docker.Config{
		Host: c.Docker.Host, Data: c.Data, Program: program, Pull: c.Pull, Auth: auth, Log: log, Runtime: c.Docker.Runtime, At: atPoint,
	})
}

// apiOf gives the address of the API of a GitHub that people see at web, and its host.
func apiOf(web string) (api, host string) {
	scheme, host, _ := strings.Cut(web, "://")
	switch {
	case host == "github.com":
		return "https://api.github.com", host
	case strings.HasSuffix(host, ".ghe.com"):
		return scheme + "://api." + host, host
	}
	return web + "/api/v3", host
}

func (s *server) openLocal() (webhook.Source, error) {
	program, err := os.Executable()
	if err != nil {
		return webhook.Source{}, err
	}
	if s.local, err = fromlocal.New(fromlocal.Config{
		Store: s.store, Dir: s.localForge().Dir, Program: program, Token: s.token, MaxPush: int64(s.config.MaxPush), Log: s.log,
		URL:  func() string { return s.config.URL },
		Page: func(b *store.Build) string { return s.page(b.ID, b.Repo) },
	}); err != nil {
		return webhook.Source{}, err
	}
	return s.local.Source(s.localForge()), nil
}

// localForge is what there is to ask of the built-in forge.
func (s *server) localForge() local.Forge {
	return local.Forge{Dir: filepath.Join(s.config.Data, "git")}
}

// page is the address of the page of a build or notice, with the key that lets whoever has it read.
func (s *server) page(id string, r store.Repo) string {
	key, err := s.store.LinkKey(id, r)
	if err != nil {
		s.log.Error("making a link", "build", id, "err", err)
		return s.config.URL + "/builds/" + id
	}
	return s.config.URL + "/builds/" + id + "?k=" + key
}

// public is the address at which everybody may see a build; empty for one of a private repository.
func (s *server) public(b *store.Build) string {
	if b.Repo.Private {
		return ""
	}
	return s.config.URL + "/builds/" + b.ID
}

// Limits of HTTP. What takes longer, a push or a live log, moves them for itself.
const (
	headerTime  = 10 * time.Second
	requestTime = time.Minute
	idleTime    = 2 * time.Minute
	stopTime    = 10 * time.Second
)

// handler is everything that answers HTTP.
func (s *server) handler() *http.Server {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/healthz", s.healthz)
	e.GET("/metrics", s.metricsPage)
	s.intake.Register(e)
	if s.local != nil {
		s.local.Register(e)
	}
	pages := web.New(web.Config{Store: s.store, AdminToken: s.token, URL: s.config.URL, Version: version(), Log: s.log, Secrets: s.secrets.Own, Schema: buildspec.Schema(), Backup: s.backup, Checks: s.told, Links: s.links,
		Forges: &web.Forges{List: s.forges, Resync: s.resync, Rotate: s.rotateSecret}, Setup: s.setup.pages()})
	pages.Register(e)
	server := &http.Server{
		Handler: e, ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: requestTime, IdleTimeout: idleTime,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(pages.Close)
	return server
}

// told gives the reports of a build as its forge was told them.
func (s *server) told(b store.Build) []web.Check {
	reports, err := checks.ToldReports(s.store, b.ID)
	if err != nil {
		s.log.Error("reading what a forge was told", "build", b.ID, "err", err)
	}
	var list []web.Check
	for _, r := range reports {
		list = append(list, web.Check{Name: r.Name, Status: r.Status, Conclusion: r.Conclusion, Title: r.Title, Summary: r.Summary})
	}
	return list
}

// backup writes the state, with what lies beside the store.
func (s *server) backup(w io.Writer) error { return s.store.Backup(w, "admin.token", "git") }

func (s *server) healthz(c echo.Context) error {
	if err := s.store.View(func(*store.Tx) error { return nil }); err != nil {
		return c.String(http.StatusServiceUnavailable, "the store does not answer\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

// metricsPage is for whoever sits at this machine, or has the admin token.
func (s *server) metricsPage(c echo.Context) error {
	token, _ := strings.CutPrefix(c.Request().Header.Get("Authorization"), "Bearer ")
	if !fromlocal.Loopback(c.Request(), s.config.URL) && subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		return c.String(http.StatusUnauthorized, "Authorise with the admin token as a bearer token.\n")
	}
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
	return nil
}

// run runs the loops until ctx is done, or one of them fails.
func (s *server) run(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops sync.WaitGroup
	loop := func(name string, run func(context.Context) error) {
		loops.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	loop("intake", s.intake.Run)
	loop("deliveries", s.intake.Recover)
	loop("github", s.watchHub)
	for _, b := range s.buckets {
		loop(b.name(), func(ctx context.Context) error { return s.watchMember(ctx, b) })
	}
	loop("runner", s.runner.Run)
	loop("reporter", s.reporter.Run)
	loop("metrics", s.metrics.run)
	loop("sweeper", s.sweep)
	if s.local != nil {
		loop("built-in forge", s.local.Run)
	}
	loop("http", func(context.Context) error {
		var err error
		if t := s.config.TLS; t.Certificate != "" {
			err = s.http.ServeTLS(listener, t.Certificate, t.Key)
		} else {
			err = s.http.Serve(listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	<-ctx.Done()
	s.log.Info("stopping; builds that run go on")
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	if err := s.http.Shutdown(stopping); err != nil {
		s.http.Close()
	}
	loops.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// sweepEvery is how often old things are removed.
const sweepEvery = time.Hour

func (s *server) sweep(ctx context.Context) error {
	keep := s.config.Retention
	for {
		swept, err := s.store.Sweep(store.Retention{
			Builds: time.Duration(keep.Builds), Logs: time.Duration(keep.Logs), Artifacts: time.Duration(keep.Artifacts)})
		mirrors, sweptMirrors := s.mirrors.Sweep(ctx, time.Duration(keep.Mirrors))
		images, sweptImages := s.sweepImages(ctx, time.Duration(keep.Images))
		if err := errors.Join(err, sweptMirrors, sweptImages); err != nil && ctx.Err() == nil {
			s.log.Warn("removing what is old", "err", err)
		}
		if swept != (store.Swept{}) || mirrors+images > 0 {
			s.log.Info("removed what was old", "builds", swept.Builds, "logs", swept.Logs, "artifacts", swept.Artifacts,
				"deliveries", swept.Deliveries, "orphans", swept.Orphans, "mirrors", mirrors, "images", images)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sweepEvery):
		}
	}
}

// sweepImages removes the images that builds had pulled and have not used for a while.
func (s *server) sweepImages(ctx context.Context, unused time.Duration) (removed int, err error) {
	if unused <= 0 {
		return 0, nil
	}
	var old []string
	if err := s.store.View(func(tx *store.Tx) (err error) {
		old, err = tx.UnusedImages(s.store.Now().Add(-unused))
		return err
	}); err != nil {
		return 0, err
	}
	for _, name := range old {
		if failed := s.docker.RemoveImage(ctx, name); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		removed++
		err = errors.Join(err, s.store.Update(func(tx *store.Tx) error { return tx.ForgetImage(name) }))
	}
	return removed, err
}
