package secret

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Credentials that the fake AWS takes: the environment's and those of the profile ci.
var awsKeys = map[string]string{"AKIDENVIRONMENT": "environment/secret+key", "AKIDPROFILE": "profile/secret+key"}

// TestMain keeps AWS's client from the machine's own configuration and from the network.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "secret-test-")
	if err != nil {
		panic(err)
	}
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not this role</Message></Error></ErrorResponse>`)
	}))
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "AKIDENVIRONMENT", "AWS_SECRET_ACCESS_KEY": awsKeys["AKIDENVIRONMENT"], "AWS_SESSION_TOKEN": "session/token",
		"AWS_CONFIG_FILE": filepath.Join(dir, "config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "credentials"),
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_CA_BUNDLE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_STS": sts.URL,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
		if value == "" {
			os.Unsetenv(name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte("[profile ci]\nregion = eu-north-1\n[profile empty]\nregion = eu-north-1\n"+
		"[profile role]\nregion = eu-north-1\nrole_arn = arn:aws:iam::111122223333:role/ci\nsource_profile = ci\n"), 0o600); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte("[ci]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = "+awsKeys["AKIDPROFILE"]+"\n"), 0o600); err != nil {
		panic(err)
	}
	status := m.Run()
	sts.Close()
	os.RemoveAll(dir)
	os.Exit(status)
}

// A call is a request that the fake AWS has taken.
type call struct {
	Service, Region, Key string
	Operation            string
	Input                map[string]any
}

// A reply is what it answers; the zero reply breaks the connection off.
type reply struct {
	Status int
	Body   string
}

func ok(v any) reply {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return reply{http.StatusOK, string(text)}
}

func refusal(status int, kind, message string) reply {
	text, err := json.Marshal(map[string]string{"__type": kind, "message": message})
	if err != nil {
		panic(err)
	}
	return reply{status, string(text)}
}

// A fakeAWS answers GetParameter and GetSecretValue in JSON 1.1, and takes requests only that are signed right.
type fakeAWS struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

func newFakeAWS(t *testing.T, answer func(call) reply) *fakeAWS {
	f := &fakeAWS{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c, err := f.understand(r, body)
		if err != nil {
			t.Errorf("a request that AWS would refuse: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		f.calls = append(f.calls, c)
		f.mu.Unlock()
		got := answer(c)
		if got.Status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Requestid", "00000000-0000-0000-0000-000000000000")
		w.WriteHeader(got.Status)
		io.WriteString(w, got.Body)
	}))
	t.Cleanup(f.Close)
	return f
}

// asked are the calls so far.
func (f *fakeAWS) asked() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeAWS) understand(r *http.Request, body []byte) (c call, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		return c, fmt.Errorf("%s %s, %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if c, err = checkSignature(r, body); err != nil {
		return c, err
	}
	target, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if want := map[string]string{"ssm": "AmazonSSM", "secretsmanager": "secretsmanager"}[c.Service]; target != want {
		return c, fmt.Errorf("the target %s at the service %s", target, c.Service)
	}
	c.Operation = operation
	return c, json.Unmarshal(body, &c.Input)
}

// checkSignature computes a request's signature anew, as AWS publishes it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func checkSignature(r *http.Request, body []byte) (c call, err error) {
	algorithm, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	fields := map[string]string{}
	for _, f := range strings.Split(rest, ", ") {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if algorithm != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[4] != "aws4_request" {
		return c, fmt.Errorf("the authorization %s %v", algorithm, fields)
	}
	c = call{Key: scope[0], Region: scope[2], Service: scope[3]}
	key, known := awsKeys[c.Key]
	if !known {
		return c, fmt.Errorf("the key %s", c.Key)
	}
	at := r.Header.Get("X-Amz-Date")
	if when, err := time.Parse("20060102T150405Z", at); err != nil || time.Since(when).Abs() > 5*time.Minute || at[:8] != scope[1] {
		return c, fmt.Errorf("the date %s of %s", at, scope[1])
	}
	names := strings.Split(fields["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-target", "content-type"} {
		if !slices.Contains(names, must) {
			return c, fmt.Errorf("%s is not signed: %v", must, names)
		}
	}
	token := r.Header.Get("X-Amz-Security-Token")
	if (c.Key == "AKIDENVIRONMENT") != (token == "session/token") || token != "" && !slices.Contains(names, "x-amz-security-token") {
		return c, fmt.Errorf("the token %q", token)
	}
	digest := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	var canonical bytes.Buffer
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", fields["SignedHeaders"], digest(body))
	sign := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	signing := []byte("AWS4" + key)
	for _, part := range scope[1:] {
		signing = sign(signing, part)
	}
	want := hex.EncodeToString(sign(signing, algorithm+"\n"+at+"\n"+strings.Join(scope[1:], "/")+"\n"+digest(canonical.Bytes())))
	if want != fields["Signature"] {
		return c, fmt.Errorf("the signature %s, want %s", fields["Signature"], want)
	}
	return c, nil
}
