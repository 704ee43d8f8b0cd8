package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"buildsmith/checks/github/githubtest"
	"buildsmith/runner/runnertest"
	"buildsmith/store"
)

const logSize = 200_000_000

// muchOutput prints logSize bytes of lines of 80 bytes, of which those of a megabyte differ.
var muchOutput = fmt.Sprintf("while cat lines; do :; done | head -c %d", logSize)

// logDir makes a directory with a buildspec that prints much, and gives the digest of what it prints.
func logDir(t *testing.T) (dir, digest string) {
	t.Helper()
	var lines bytes.Buffer
	for n := range 12_500 {
		fmt.Fprintf(&lines, "%06d %s\n", n, strings.Repeat("some words of a log, ", 4)[:72])
	}
	dir = t.TempDir()
	for name, text := range map[string]string{
		"lines": lines.String(), "buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"" + muchOutput + "\"]}}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.New()
	for range logSize / lines.Len() {
		sum.Write(lines.Bytes())
	}
	return dir, hex.EncodeToString(sum.Sum(nil))
}

// checkLog compares what commands printed into a file, and removes it.
func checkLog(t *testing.T, what, path, digest string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	sum, size := sha256.New(), 0
	for r := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := r.ReadSlice('\n')
		if !bytes.HasPrefix(line, []byte("[Container] ")) {
			sum.Write(line)
			size += len(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		t.Errorf("%s: %d bytes arrived, want %d; SHA-256 %s, want %s", what, size, logSize, got, digest)
	}
}

// TestMeasureLog compares how fast the output of a build reaches its stored log with `docker run` into a file.
func TestMeasureLog(t *testing.T) {
	program := measured(t)
	dir, digest := logDir(t)
	out := filepath.Join(t.TempDir(), "out")
	// rate runs a program with its output in a file, and gives megabytes a second from its start to its exit.
	rate := func(program string, args ...string) func(bool) float64 {
		return func(bool) float64 {
			f, err := os.Create(out)
			if err != nil {
				t.Fatal(err)
			}
			took := timed(t, f, program, args...)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			checkLog(t, filepath.Base(program), out, digest)
			return logSize / 1e3 / took
		}
	}
	raw := func(driver ...string) func(bool) float64 {
		args := append([]string{"run", "--rm", "--volume", dir + ":/src", "--workdir", "/src"}, driver...)
		return rate("docker", append(args, runnertest.DebianImage, "sh", "-c", muchOutput)...)
	}
	s := serveMeasured(t, program, t.TempDir(), "warm: 0\n")
	gitIn(t, dir, "init", "--quiet")
	gitIn(t, dir, "add", "--all")
	number := 0
	// A build's time is that from its making to its recorded end, when its log is on the disk.
	server := func(bool) float64 {
		number++
		gitIn(t, dir, "commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("Build ", number))
		gitIn(t, dir, "push", "--quiet", s.url+"/git/much.git", "HEAD:main")
		b := s.await(t, number)
		checkLog(t, "the server", s.log(b.ID), digest)
		return logSize / 1e6 / b.Ended.Sub(b.Created).Seconds()
	}
	ours, theirs := comparePairs(server, raw())
	compared(t, "log of a server's build / docker run, standard log driver", "MB/s", ours, theirs, "1.0 at least")
	t.Logf("  afterwards the server is %s", s.memory(t))
	ours, theirs = comparePairs(rate(program, "run", dir), raw())
	compared(t, "buildsmith run / docker run, standard log driver, both into a file", "MB/s", ours, theirs, "1.0 at least")
	ours, theirs = comparePairs(server, raw("--log-driver", "none"))
	compared(t, "log of a server's build / docker run --log-driver none, which keeps no log", "MB/s", ours, theirs, "1.0 at least, as a stretch")
}

// Deliveries are sent in as many rounds as comparisons have pairs.
const (
	deliveryConnections = 16
	deliveriesPerRound  = 2000
)

// A sent delivery was acknowledged.
type sentDelivery struct {
	id     string
	digest string
}

// A sender sends deliveries like GitHub's: pushes that delete a branch, which start no build.
type sender struct {
	url, secret string
	body        []byte // with REPO and NUMBER in it
	next        atomic.Int64

	mu      sync.Mutex
	acked   []sentDelivery
	latency []float64 // milliseconds
	refused map[int]int
}

// newSender takes the published example of a push whose ref is gone.
func newSender(t *testing.T, url, secret string) *sender {
	t.Helper()
	examples, err := githubtest.Examples("push")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		if bytes.Contains(e, []byte(`"deleted": true`)) || bytes.Contains(e, []byte(`"deleted":true`)) {
			body := bytes.ReplaceAll(e, []byte("refs/tags/simple-tag"), []byte("refs/heads/change-NUMBER"))
			body = bytes.ReplaceAll(body, []byte("186853002"), []byte("REPO"))
			if bytes.Contains(body, []byte("NUMBER")) && bytes.Contains(body, []byte("REPO")) {
				return &sender{url: url, secret: secret, body: body, refused: map[int]int{}}
			}
		}
	}
	t.Fatal("there is no example of a push that deletes")
	return nil
}

// round sends deliveries over all connections and gives how long that took. Once enough is closed, what is not answered ends
// the connection.
func (s *sender) round(t *testing.T, count int, enough <-chan struct{}) time.Duration {
	t.Helper()
	last := s.next.Load() + int64(count)
	begun := time.Now()
	var connections sync.WaitGroup
	for range deliveryConnections {
		connections.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 30 * time.Second}
			defer client.CloseIdleConnections()
			for {
				n := s.next.Add(1)
				if n > last {
					return
				}
				if err := s.send(client, n); err != nil {
					select {
					case <-enough:
					default:
						t.Errorf("delivery %d: %v", n, err)
					}
					return
				}
			}
		})
	}
	connections.Wait()
	took := time.Since(begun)
	s.next.Store(last)
	return took
}

func (s *sender) send(client *http.Client, n int64) error {
	body := bytes.ReplaceAll(s.body, []byte("REPO"), fmt.Appendf(nil, "%d", 1000+n%20))
	body = bytes.ReplaceAll(body, []byte("NUMBER"), fmt.Appendf(nil, "%06d", n))
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write(body)
	request, err := http.NewRequest(http.MethodPost, s.url+"/webhook/github", bytes.NewReader(body))
	if err != nil {
		return err
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/0123456", "X-GitHub-Event": "push", "X-GitHub-Delivery": id,
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil))} {
		request.Header.Set(name, value)
	}
	begun := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	took := time.Since(begun)
	sum := sha256.Sum256(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer.StatusCode != http.StatusAccepted {
		s.refused[answer.StatusCode]++
		return err
	}
	s.acked, s.latency = append(s.acked, sentDelivery{id, hex.EncodeToString(sum[:])}), append(s.latency, milliseconds(took))
	return err
}

// TestMeasureDeliveries counts the deliveries that a server takes a second, and looks whether each that it acknowledged is
// there after it was killed.
func TestMeasureDeliveries(t *testing.T) {
	program := measured(t)
	githubtest.Require(t)
	hub := githubtest.New(t, githubtest.Options{})
	config, env := fakeGitHub(t, hub)
	data := t.TempDir()
	s := serveMeasured(t, program, data, config, env...)
	idle := s.memory(t)
	sender := newSender(t, s.url, hub.WebhookSecret())
	sender.round(t, 200, nil)
	sender.latency = nil
	var rates []float64
	for range measurePairs {
		took := sender.round(t, deliveriesPerRound, nil)
		rates = append(rates, deliveriesPerRound/took.Seconds())
	}
	t.Logf("deliveries of %d bytes taken on %d connections: %s in %d rounds of %d; goal 1500 at least, none lost",
		len(sender.body), deliveryConnections, spread(rates, "a second"), measurePairs, deliveriesPerRound)
	slices.Sort(sender.latency)
	n := len(sender.latency)
	t.Logf("  answered in %.1f ms (median), %.1f (95 %%), %.1f (the slowest)", median(sender.latency), sender.latency[n*95/100], sender.latency[n-1])
	t.Logf("  the server before: %s; after: %s", idle, s.memory(t))

	// The last round ends with the server killed in the middle.
	enough := make(chan struct{})
	killed := time.AfterFunc(700*time.Millisecond, func() {
		close(enough)
		s.cmd.Process.Kill()
	})
	defer killed.Stop()
	before := len(sender.acked)
	sender.round(t, 1_000_000, enough)
	s.end(syscall.SIGKILL)
	if len(sender.refused) > 0 {
		t.Errorf("deliveries that were not taken, by status: %v", sender.refused)
	}
	stored := storedDeliveries(t, data)
	missing, wrong := 0, 0
	for _, d := range sender.acked {
		switch digest, ok := stored[d.id]; {
		case !ok:
			missing++
		case digest != d.digest:
			wrong++
		}
	}
	if missing+wrong > 0 {
		t.Errorf("of %d acknowledged deliveries %d are missing and %d are not as they were sent", len(sender.acked), missing, wrong)
	}
	t.Logf("killed (SIGKILL) while it took the last %d: all %d acknowledged deliveries are stored, %d that were not answered besides",
		len(sender.acked)-before, len(sender.acked), len(stored)-len(sender.acked))

	again := serveMeasured(t, program, data, config, env...)
	begun := time.Now()
	left := pendingDeliveries(t, again)
	t.Logf("  the next server finds %d to be decided on", left)
	for ; left > 0 && time.Since(begun) < 3*time.Minute; left = pendingDeliveries(t, again) {
		time.Sleep(200 * time.Millisecond)
	}
	if left > 0 {
		t.Errorf("%d deliveries are not decided on after %v", left, time.Since(begun))
	}
	t.Logf("  and has decided on all after %.1f s", time.Since(begun).Seconds())
	var list struct{ Builds []measuredBuild }
	if again.get(t, "/api/builds", &list); len(list.Builds) > 0 {
		t.Errorf("there are builds: %+v", list.Builds)
	}
}

// storedDeliveries reads all deliveries of a server that does not run: the digests of their bodies by their ids.
func storedDeliveries(t *testing.T, data string) map[string]string {
	t.Helper()
	db, err := store.Open(data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	digests := map[string]string{}
	for before := uint64(0); ; {
		var list []store.Delivery
		if err := db.View(func(tx *store.Tx) (err error) {
			list, err = tx.Deliveries(before, 500)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return digests
		}
		for _, d := range list {
			body, err := db.Body(&d)
			if err != nil {
				t.Fatal(err)
			}
			if digests[d.ID] != "" {
				t.Errorf("delivery %s is stored twice", d.ID)
			}
			sum := sha256.Sum256(body)
			digests[d.ID] = hex.EncodeToString(sum[:])
		}
		before = list[len(list)-1].Seq
	}
}

// pendingDeliveries asks a server how many deliveries nobody has decided on.
func pendingDeliveries(t *testing.T, s *measuredServer) (n int) {
	t.Helper()
	answer, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "buildsmith_deliveries_pending %d", &n); err == nil {
			return n
		}
	}
	t.Fatalf("there is no count of pending deliveries in\n%s", text)
	return 0
}
