package local

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
)

// Services of smart HTTP.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// Register mounts the repositories below /git/.
func (f *Forge) Register(e *echo.Echo) {
	e.GET("/git/:repo/info/refs", f.handle)
	e.POST("/git/:repo/"+uploadPack, f.handle)
	e.POST("/git/:repo/"+receivePack, f.handle)
}

func (f *Forge) handle(c echo.Context) error {
	r := c.Request()
	name, ok := strings.CutSuffix(c.Param("repo"), ".git")
	if !ok || !valid(name) {
		return c.String(http.StatusNotFound, "There is no such repository. Names are of a-z, 0-9, dot, underscore and dash, 64 at most, and end in .git in the address.\n")
	}
	pusher, ok := f.authorised(r)
	if !ok {
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="buildsmith", charset="UTF-8"`)
		return c.String(http.StatusUnauthorized, "Authorise with any user name and the server's token, which is in the file admin.token of its data directory.\n")
	}
	service, path := r.URL.Query().Get("service"), "/info/refs"
	if r.Method == http.MethodPost {
		service = filepath.Base(r.URL.Path)
		path = "/" + service
	}
	if service != uploadPack && service != receivePack {
		return c.String(http.StatusForbidden, "Only the smart protocol is served: use a Git of this century.\n")
	}
	if service == receivePack {
		if disk, err := f.Store.Disk(); err != nil || disk.Low() {
			return c.String(http.StatusServiceUnavailable, "The disk of this server is nearly full; push again later.\n")
		}
		if err := f.make(r.Context(), name); err != nil {
			f.Log.Error("making a repository", "repo", name, "err", err)
			return c.String(http.StatusInternalServerError, "The repository could not be made; the server's log tells why.\n")
		}
	} else if _, err := os.Stat(filepath.Join(f.path(name), "HEAD")); err != nil {
		return c.String(http.StatusNotFound, "There is no such repository. The first push makes it.\n")
	}
	if r.Method == http.MethodPost && service == receivePack {
		f.pushing(name, 1)
		defer f.pushing(name, -1)
	}
	if err := f.serve(c, name, service, path, pusher); err != nil {
		f.Log.Warn("serving a repository", "repo", name, "service", service, "err", err)
	}
	if r.Method == http.MethodPost && service == receivePack {
		// The hook has done this, unless it could not.
		if _, err := f.Reconcile(context.WithoutCancel(r.Context()), name, pusher); err != nil {
			f.Log.Error("comparing refs after a push", "repo", name, "err", err)
		}
	}
	return nil
}

// authorised says who asks. Whoever sits at this machine needs no token: see Loopback.
func (f *Forge) authorised(r *http.Request) (who string, ok bool) {
	user, password, basic := r.BasicAuth()
	token := password
	if bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		user, token = "token", bearer
	}
	if token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(f.Token)) == 1 {
		return or(user, "token"), true
	}
	if Loopback(r, f.URL()) && (!basic || password == "") {
		return or(user, "local"), true
	}
	return "", false
}

func or(value, standard string) string {
	if value == "" || len(value) > 100 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		return standard
	}
	return value
}

// Loopback reports whether a request to the server at an address comes from this machine: that address, the peer's and the
// host that the request names are loopback, no proxy has forwarded it, and no other site's page has a browser send it. A proxy need not say that it is one, and passes on
// whatever host it is told; so a server whose address is another takes nobody for somebody at this machine, and neither does
// any that is spoken to in HTTP/1.0, as plain proxies do.
func Loopback(r *http.Request, server string) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !r.ProtoAtLeast(1, 1) {
		return false
	}
	if u, err := url.Parse(server); err != nil || !loopback(u.Host) {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via", "Cf-Connecting-Ip"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return false
	}
	return loopback(r.Host)
}

// loopback reports whether a host, with or without a port, is this machine's name for itself.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

var protocolVersion = regexp.MustCompile(`^version=[0-9]$`)

// pushTime is how long one request of git's may take.
const pushTime = time.Hour

// stopTime is how long git may take to end by itself.
const stopTime = 10 * time.Second

// serve runs git http-backend for one request. It is CGI, of which net/http/cgi cannot do what git does: a body whose length
// nobody knows.
func (f *Forge) serve(c echo.Context, name, service, path, pusher string) error {
	r, w := c.Request(), c.Response()
	ctx, cancel := context.WithTimeout(r.Context(), pushTime)
	defer cancel()
	control := http.NewResponseController(w)
	_ = errors.Join(control.SetReadDeadline(time.Now().Add(pushTime)), control.SetWriteDeadline(time.Now().Add(pushTime)))
	var body io.Reader = r.Body
	if f.MaxPush > 0 {
		body = http.MaxBytesReader(w, r.Body, f.MaxPush)
	}
	cmd := exec.CommandContext(ctx, "git", "http-backend")
	cmd.Dir = f.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(stopTime, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		if r.Method == http.MethodPost && service == receivePack {
			// Git removes what came of a push when that ends too early, which it does with the body. A signal, be it
			// SIGTERM, would have it leave all of it.
			return nil
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = 2 * stopTime
	cmd.Env = append(f.environment(),
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_SOFTWARE=buildsmith",
		"REQUEST_METHOD="+r.Method, "GIT_PROJECT_ROOT="+f.Dir, "PATH_INFO=/"+name+".git"+path, "GIT_HTTP_EXPORT_ALL=1",
		"REMOTE_USER="+pusher, "REMOTE_ADDR=127.0.0.1", "CONTENT_TYPE="+r.Header.Get("Content-Type"),
		"BUILDSMITH_HOOK_SOCKET="+f.socket, "BUILDSMITH_HOOK_TOKEN="+f.token, "BUILDSMITH_HOOK_REPO="+name, "BUILDSMITH_HOOK_PUSHER="+pusher)
	if r.Method == http.MethodGet {
		cmd.Env = append(cmd.Env, "QUERY_STRING=service="+service)
	}
	// Without CONTENT_LENGTH, for which http-backend would wait for ever if the body ended before it.
	if r.Header.Get("Content-Encoding") == "gzip" {
		cmd.Env = append(cmd.Env, "HTTP_CONTENT_ENCODING=gzip")
	}
	if v := r.Header.Get("Git-Protocol"); protocolVersion.MatchString(v) {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+v)
	}
	cmd.Env = append(cmd.Env, configuration(
		"core.hooksPath", f.hooks, "http.receivepack", "true", "http.getanyfile", "false", "receive.fsckObjects", "true",
		"receive.autogc", "false", "receive.denyDeleteCurrent", "ignore", "receive.maxInputSize", strconv.FormatInt(f.MaxPush, 10),
		"gc.auto", "0", "safe.directory", "*", "uploadpack.allowAnySHA1InWant", "false")...)
	cmd.Stdin = body
	var stderr strings.Builder
	cmd.Stderr = &limited{&stderr, 2000}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, c.String(http.StatusInternalServerError, "git could not be started; the server's log tells why.\n"))
	}
	copied := relay(w, out)
	if copied != nil {
		_, _ = io.Copy(io.Discard, out) // nobody listens; it must not end of that
	}
	err = cmd.Wait()
	if kill != nil {
		kill.Stop()
	}
	if err != nil {
		return fmt.Errorf("git http-backend: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return copied
}

// configuration is Git's configuration by environment.
func configuration(pairs ...string) []string {
	env := []string{"GIT_CONFIG_COUNT=" + strconv.Itoa(len(pairs)/2)}
	for i := 0; i < len(pairs); i += 2 {
		n := strconv.Itoa(i / 2)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+pairs[i], "GIT_CONFIG_VALUE_"+n+"="+pairs[i+1])
	}
	return env
}

// relay passes on what a CGI program answers: headers, a blank line, the body.
func relay(w *echo.Response, out io.Reader) error {
	r := bufio.NewReaderSize(out, 64<<10)
	header, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil && len(header) == 0 {
		w.WriteHeader(http.StatusInternalServerError)
		return fmt.Errorf("reading the answer of git http-backend: %w", err)
	}
	status := http.StatusOK
	if code, _, _ := strings.Cut(header.Get("Status"), " "); code != "" {
		if status, err = strconv.Atoi(code); err != nil || status < 200 || status > 599 {
			status = http.StatusInternalServerError
		}
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "Expires", "Pragma"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			w.Flush()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// limited drops what goes beyond a number of bytes.
type limited struct {
	to   *strings.Builder
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.to.Write(p[:n])
	l.left -= n
	return len(p), nil
}
