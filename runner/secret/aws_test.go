package secret

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

// fakeAnswers are those of an AWS that has a parameter and a secret.
func fakeAnswers(c call) reply {
	name, _ := c.Input["Name"].(string)
	if c.Operation == "GetSecretValue" {
		name, _ = c.Input["SecretId"].(string)
	}
	switch {
	case c.Operation == "GetParameter" && strings.HasSuffix(name, "/ci/user"):
		return ok(map[string]any{"Parameter": map[string]any{"Name": "/ci/user", "Type": "SecureString", "Value": "s3cr3t", "Version": 4}})
	case c.Operation == "GetParameter" && (name == "/ci/user:1" || name == "/ci/user:blue" || strings.HasSuffix(name, "parameter/ci/user:1")):
		return ok(map[string]any{"Parameter": map[string]any{"Value": "the first", "Selector": ":1"}})
	case c.Operation == "GetSecretValue" && strings.Contains(name, "db"):
		text := `{"user":"admin","port":5432}`
		if c.Input["VersionStage"] == "AWSPREVIOUS" {
			text = `{"user":"before"}`
		}
		if c.Input["VersionId"] != nil {
			text = `{"user":"by id"}`
		}
		return ok(map[string]any{"ARN": "arn", "Name": "db", "SecretString": text, "VersionStages": []string{"AWSCURRENT"}, "CreatedDate": 1.5e9})
	}
	return refusal(http.StatusBadRequest, "ParameterNotFound", "")
}

// TestAWS asks both services, and looks at what they were asked.
func TestAWS(t *testing.T) {
	fake := newFakeAWS(t, fakeAnswers)
	s, log := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: all}})
	arn := "arn:aws:secretsmanager:us-east-2:111122223333:secret:db-AbCdEf"
	input := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		wanted Wanted
		want   string
		region string
		input  map[string]any
	}{
		{parameter("/ci/user"), "s3cr3t", "eu-west-1", input("Name", "/ci/user", "WithDecryption", true)},
		{parameter("/ci/user:1"), "the first", "eu-west-1", input("Name", "/ci/user:1", "WithDecryption", true)},
		{parameter("/ci/user:blue"), "the first", "eu-west-1", input("Name", "/ci/user:blue", "WithDecryption", true)},
		{parameter("arn:aws:ssm:us-east-2:1:parameter/ci/user"), "s3cr3t", "us-east-2", input("Name", "arn:aws:ssm:us-east-2:1:parameter/ci/user", "WithDecryption", true)},
		{parameter("arn:aws:ssm:us-east-2:1:parameter/ci/user:1"), "the first", "us-east-2", input("Name", "arn:aws:ssm:us-east-2:1:parameter/ci/user:1", "WithDecryption", true)},
		{secretOf("db"), `{"user":"admin","port":5432}`, "eu-west-1", input("SecretId", "db")},
		{secretOf("db:port:AWSCURRENT"), "5432", "eu-west-1", input("SecretId", "db")},
		{secretOf("db:user:AWSPREVIOUS"), "before", "eu-west-1", input("SecretId", "db", "VersionStage", "AWSPREVIOUS")},
		{secretOf("db:user::3f2a"), "by id", "eu-west-1", input("SecretId", "db", "VersionId", "3f2a")},
		{secretOf(arn + ":user"), "admin", "us-east-2", input("SecretId", arn)},
	} {
		before := len(fake.asked())
		if got, err := s.Resolve(t.Context(), shop(), tt.wanted.Kind, tt.wanted.Reference); got != tt.want || err != nil {
			t.Errorf("%v: %q, %v, want %q", tt.wanted, got, err, tt.want)
		}
		service, operation := "ssm", "GetParameter"
		if tt.wanted.Kind == store.SecretsManager {
			service, operation = "secretsmanager", "GetSecretValue"
		}
		want := []call{{service, tt.region, "AKIDENVIRONMENT", operation, tt.input}}
		if asked := fake.asked()[before:]; !cmp.Equal(asked, want) {
			t.Errorf("%v: %s", tt.wanted, cmp.Diff(want, asked))
		}
	}
	if said := log.take(); strings.Contains(said, "admin") || strings.Contains(said, "s3cr3t") || !strings.Contains(said, `msg="a build was given a secret" build=0b1d repo=octo/shop secret=/ci/user from=AWS`) {
		t.Error(said)
	}
	// One question for each version, however many variables are made of it.
	before := len(fake.asked())
	for i, a := range s.ResolveAll(t.Context(), shop(), []Wanted{secretOf("db:user"), secretOf("db:port"), secretOf("db"), secretOf("db:user:AWSPREVIOUS"), secretOf("db::AWSPREVIOUS"), parameter("/ci/user"), parameter("/ci/user")}) {
		if a.Err != nil {
			t.Errorf("%d: %v", i, a.Err)
		}
	}
	if n := len(fake.asked()) - before; n != 3 {
		t.Errorf("AWS was asked %d times, want 3", n)
	}
}

// TestAWSRules does not even ask for a build that may not read.
func TestAWSRules(t *testing.T) {
	fake := newFakeAWS(t, fakeAnswers)
	s, _ := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: store.SecretRules{Projects: []string{"octo/shop"}, Refs: []string{"refs/heads/main"}}}})
	for _, b := range []*store.Build{shop(other), shop(branch), shop(fork)} {
		_, err := s.Resolve(t.Context(), b, store.ParameterStore, "/ci/user")
		if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "Parameter does not exist: ") {
			t.Error(err)
		}
	}
	if _, err := s.Resolve(t.Context(), shop(other), store.SecretsManager, secretARN); err == nil || err.Error() != `Secret does not exist: "`+secretARN+`" is not there, or this build may not read it` {
		t.Error(err)
	}
	if n := len(fake.asked()); n > 0 {
		t.Errorf("AWS was asked %d times", n)
	}
	if got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "/ci/user"); got != "s3cr3t" || err != nil {
		t.Error(got, err)
	}
}

// TestAWSErrors has AWS refuse in every way; messages say whose business it is.
func TestAWSErrors(t *testing.T) {
	const denied = "Parameter does not exist: AWS does not let this server read \"x\": allow its role ssm:GetParameter, and kms:Decrypt for its key"
	text := func(v any) reply { return ok(map[string]any{"Parameter": map[string]any{"Value": v}}) }
	for name, tt := range map[string]struct {
		wanted Wanted
		reply  reply
		kind   error // nil for a fault
		want   string
		calls  int
	}{
		"parameter not found": {parameter("x"), refusal(400, "ParameterNotFound", ""), fs.ErrNotExist, `Parameter does not exist: "x" is not there, or this build may not read it`, 1},
		"secret not found": {secretOf("x"), refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."), fs.ErrNotExist,
			`Secret does not exist: "x" is not there, or this build may not read it`, 1},
		"secret not found, with a stage": {secretOf("x::S"), refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."), fs.ErrNotExist,
			`Secret does not exist: "x" is not there, or this build may not read it`, 1},
		"no such stage": {secretOf("x::S"), refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: S"), fs.ErrNotExist,
			`Secret does not exist: "x" has no version with the stage "S"`, 1},
		"no such version": {secretOf("x:::v"), refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: v"), fs.ErrNotExist,
			`Secret does not exist: "x" has no version "v"`, 1},
		"no value at all": {secretOf("x"), refusal(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"), fs.ErrNotExist,
			`Secret does not exist: "x" is not there, or this build may not read it`, 1},
		"no such version of a parameter": {parameter("x:9"), refusal(400, "ParameterVersionNotFound", "Systems Manager could not find version 9 of x."), fs.ErrNotExist,
			`Parameter does not exist: "x" has no version "9"`, 1},
		"type with a namespace": {parameter("x"), refusal(400, "com.amazonaws.ssm#ParameterNotFound", ""), fs.ErrNotExist, `Parameter does not exist: "x" is not there, or this build may not read it`, 1},
		"denied":                {parameter("x"), refusal(400, "AccessDeniedException", "User: arn:aws:sts::1:assumed-role/ci is not authorized"), fs.ErrPermission, denied, 1},
		"denied secret": {secretOf("x"), refusal(400, "AccessDeniedException", "User: arn:aws:sts::1:assumed-role/ci is not authorized"), fs.ErrPermission,
			`Secret does not exist: AWS does not let this server read "x": allow its role secretsmanager:GetSecretValue, and kms:Decrypt for its key`, 1},
		"no name of AWS's": {parameter("x@y"), refusal(400, "ValidationException", "Parameter name: can't be prefixed with"), ErrReference, `AWS does not take "x@y" for a name or version`, 1},
		"no id of AWS's":   {secretOf("x"), refusal(400, "InvalidParameterException", "Invalid name"), ErrReference, `AWS does not take "x" for a name or version`, 1},
		"being deleted": {secretOf("x"), refusal(400, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."), fs.ErrNotExist,
			`Secret does not exist: AWS does not give the value of "x", as of one that is marked for deletion`, 1},
		"bytes": {secretOf("x"), ok(map[string]any{"Name": "x", "SecretBinary": "aHVudGVyMg=="}), fs.ErrNotExist, `Secret does not exist: AWS has no text for "x", only bytes: a variable's value is text`, 1},
		"NUL":   {parameter("x"), text("hunter2\x00"), ErrReference, `the value of "x" holds a NUL byte, which no variable can`, 1},

		"expired":          {parameter("x"), refusal(400, "ExpiredTokenException", "The security token included in the request is expired"), nil, "AWS does not take the server's credentials (ExpiredTokenException); the server's log says why", 1},
		"unknown key":      {parameter("x"), refusal(400, "UnrecognizedClientException", "The security token included in the request is invalid."), nil, "AWS does not take the server's credentials (UnrecognizedClientException); the server's log says why", 1},
		"throttled":        {parameter("x"), refusal(400, "ThrottlingException", "Rate exceeded"), nil, `the answer is "ThrottlingException"; the server's log says more`, 3},
		"internal":         {parameter("x"), refusal(500, "InternalServerError", ""), nil, `the answer is "InternalServerError"; the server's log says more`, 3},
		"internal secret":  {secretOf("x"), refusal(500, "InternalServiceError", "An error occurred on the server side."), nil, `the answer is "InternalServiceError"; the server's log says more`, 3},
		"decryption":       {secretOf("x"), refusal(400, "DecryptionFailure", "Secrets Manager can't decrypt"), nil, `the answer is "DecryptionFailure"; the server's log says more`, 1},
		"a proxy's page":   {parameter("x"), reply{502, "<html>hunter2</html>"}, nil, "the answer is not understood (status 502)", 3},
		"garbage":          {parameter("x"), reply{200, "hunter2"}, nil, "the answer is not understood (status 200)", 1},
		"garbage secret":   {secretOf("x"), reply{200, `{"SecretString": {"hunter2": 1}}`}, nil, "the answer is not understood (status 200)", 1},
		"half an answer":   {parameter("x"), reply{200, `{"Parameter": {"Value": "hunter2`}, nil, "the answer is not understood (status 200)", 1},
		"nothing":          {parameter("x"), reply{200, `{}`}, nil, "the answer is not understood", 1},
		"no value":         {parameter("x"), reply{200, `{"Parameter": {"Name": "x"}}`}, nil, "the answer is not understood", 1},
		"an empty secret":  {secretOf("x"), reply{200, `{"Name": "x"}`}, nil, "the answer is not understood", 1},
		"no connection":    {parameter("x"), reply{}, nil, "the connection failed; the server's log says why", 3},
		"a status alone":   {parameter("x"), reply{404, ""}, nil, `the answer is "UnknownError"; the server's log says more`, 1},
		"an unknown error": {parameter("x"), refusal(400, "NewException", strings.Repeat("x", 1000)), nil, `the answer is "NewException"; the server's log says more`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFakeAWS(t, func(call) reply { return tt.reply })
			s, log := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: all}})
			got, err := s.Resolve(t.Context(), shop(), tt.wanted.Kind, tt.wanted.Reference)
			want := tt.want
			if tt.kind == nil {
				want = `reading the secret "x" from AWS: ` + want
			}
			if got != "" || err == nil || Authors(err) != (tt.kind != nil) || tt.kind != nil && !errors.Is(err, tt.kind) || err.Error() != want {
				t.Errorf("%q, %v\nwant %s", got, err, want)
			}
			if n := len(fake.asked()); n != tt.calls {
				t.Errorf("AWS was asked %d times, want %d", n, tt.calls)
			}
			if said := log.take(); strings.Contains(said+err.Error(), "hunter2") || strings.Contains(err.Error(), "assumed-role") || strings.HasPrefix(name, "denied") && !strings.Contains(said, "assumed-role") ||
				strings.Contains(want, "server's credentials") && !strings.Contains(said, "security token") ||
				strings.Contains(want, "the connection failed") && !strings.Contains(said, "EOF") {
				t.Errorf("the log is %s", said)
			}
		})
	}
}

// TestAWSThrottledOnce succeeds with the next try.
func TestAWSThrottledOnce(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	fake := newFakeAWS(t, func(c call) reply {
		if n.Add(1) == 1 {
			return refusal(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
		}
		return fakeAnswers(c)
	})
	s, _ := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: all}})
	if got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "/ci/user"); got != "s3cr3t" || err != nil || n.Load() != 2 {
		t.Errorf("%q, %v after %d", got, err, n.Load())
	}
}

// TestAWSUnreachable has nobody listen.
func TestAWSUnreachable(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	s, log := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: gone.URL, Rules: all}})
	_, err := s.Resolve(t.Context(), shop(), store.SecretsManager, "x")
	if err == nil || Authors(err) || err.Error() != `reading the secret "x" from AWS: the connection failed; the server's log says why` {
		t.Error(err)
	}
	if got := log.take(); !strings.Contains(got, "dial tcp 127.0.0.1:") || !strings.Contains(got, ": connect: connection refused") {
		t.Errorf("the operator's log lacks the cause: %s", got)
	}
}

// TestAWSCredentials has those of the environment, of a profile, none, and a role that is refused, which is no refusal of the
// secret.
func TestAWSCredentials(t *testing.T) {
	fake := newFakeAWS(t, fakeAnswers)
	for profile, want := range map[string]string{
		"":      "",
		"ci":    "",
		"empty": `msg="a build could not be given a secret" build=0b1d repo=octo/shop secret=/ci/user from=AWS err="AWS's client has no credentials; the server's log says why" cause=`,
		"role":  "not this role",
	} {
		region := ""
		if profile == "" {
			region = "eu-north-1"
		}
		before := len(fake.asked())
		s, log := newSecrets(t, Config{AWS: &AWS{Region: region, Profile: profile, Endpoint: fake.URL, Rules: all}})
		got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "/ci/user")
		asked := fake.asked()[before:]
		if want != "" {
			if said := log.take(); err == nil || Authors(err) || err.Error() != `reading the secret "/ci/user" from AWS: AWS's client has no credentials; the server's log says why` || !strings.Contains(said, want) || len(asked) > 0 {
				t.Errorf("%s: %v, AWS was asked %d times\n%s", profile, err, len(asked), said)
			}
			continue
		}
		key := map[string]string{"": "AKIDENVIRONMENT", "ci": "AKIDPROFILE"}[profile]
		if got != "s3cr3t" || err != nil || len(asked) != 1 || asked[0].Key != key || asked[0].Region != "eu-north-1" {
			t.Errorf("%s: %q, %v, %+v", profile, got, err, asked)
		}
	}
	// Without a log the error tells why.
	s := must[*Secrets](t)(New(t.Context(), Config{AWS: &AWS{Profile: "role", Endpoint: fake.URL, Rules: all}}))
	if _, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "x"); err == nil || Authors(err) || !strings.HasPrefix(err.Error(), `reading the secret "x" from AWS: operation error SSM: GetParameter, `) || !strings.Contains(err.Error(), "not this role") {
		t.Error(err)
	}
	for want, c := range map[string]AWS{
		"AWS: no region: name one, such as eu-west-1":       {},
		"AWS: failed to get shared config profile, no-such": {Region: "eu-west-1", Profile: "no-such"},
	} {
		if _, err := New(t.Context(), Config{AWS: &c}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestAWSTransport sends requests as it is told, but none for the machine's own link through a proxy.
func TestAWSTransport(t *testing.T) {
	fake := newFakeAWS(t, fakeAnswers)
	var changed atomic.Int32
	s, _ := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: "http://ssm.example.org", Rules: all, Transport: func(to *http.Transport) {
		changed.Add(1)
		to.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(fake.URL) }
	}}})
	if _, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "/ci/user"); changed.Load() == 0 || err != nil {
		t.Error(err)
	}
	if nearby(nil) != nil {
		t.Error("a proxy where none is")
	}
	proxy := nearby(func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy") })
	for address, through := range map[string]bool{"http://169.254.169.254/x": false, "http://[fd00:ec2::254]/x": false, "http://[fd01::1]/": true, "http://[fe80::1]/": false, "http://127.0.0.1:80/": false, "https://ssm.eu-west-1.amazonaws.com/": true} {
		r := must[*http.Request](t)(http.NewRequest(http.MethodGet, address, nil))
		if to, err := proxy(r); (to != nil) != through || err != nil {
			t.Errorf("%s goes to %v, %v", address, to, err)
		}
	}
}

// TestFakeAWSChecks is about the fake: a request that is changed after it was signed is refused.
func TestFakeAWSChecks(t *testing.T) {
	var kept *http.Request
	var body []byte
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body = make([]byte, r.ContentLength)
		r.Body.Read(body)
		kept = r
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer front.Close()
	s, _ := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: front.URL, Rules: all}})
	s.Resolve(t.Context(), shop(), store.ParameterStore, "/ci/user")
	if _, err := checkSignature(kept, body); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*http.Request){
		"the date": func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Second).UTC().Format("20060102T150405Z"))
		},
		"the target": func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSSM.DeleteParameter") },
		"the host":   func(r *http.Request) { r.Host = "example.org" },
		"the region": func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "eu-west-1", "eu-west-2", 1))
		},
	} {
		r := kept.Clone(t.Context())
		change(r)
		if _, err := checkSignature(r, body); err == nil {
			t.Errorf("%s may be changed", what)
		}
	}
	if _, err := checkSignature(kept, append(slices.Clone(body), ' ')); err == nil {
		t.Error("the body may be changed")
	}
}
