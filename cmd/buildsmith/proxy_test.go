package main

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuthorities trusts a forge's own authority beside the machine's.
func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, own, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{bundle: "", "": "certificate signed by unknown authority"} {
		c := &Config{CABundle: path}
		transport, err := c.transport()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			answer.Body.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with %q: %v", path, err)
		}
	}
	system, err := os.ReadFile(systemAuthorities[0])
	if err != nil {
		t.Skip("this machine keeps its authorities elsewhere")
	}
	c := &Config{CABundle: bundle, Data: t.TempDir()}
	path, err := c.gitAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, own) || !bytes.Contains(text, system) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if path, err := (&Config{}).gitAuthorities(); path != "" || err != nil {
		t.Errorf("without a bundle: %q, %v", path, err)
	}
	c.CABundle = filepath.Join(t.TempDir(), "none")
	if _, err := c.gitAuthorities(); err == nil || !strings.HasPrefix(err.Error(), "ca-bundle: open ") {
		t.Errorf("gitAuthorities = %v", err)
	}
}

// TestProxyOfTheEnvironment uses it for forges where none is configured, and never tells builds of it.
func TestProxyOfTheEnvironment(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	for _, p := range []Proxy{{}, {HTTP: proxy.URL}} {
		if p != (Proxy{}) {
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
		}
		asked = ""
		transport, err := (&Config{Proxy: p}).transport()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Transport: transport}).Get("http://forge.example.org/x")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if env := p.forForges().environment(); asked != "http://forge.example.org/x" || len(env) == 0 || env[0] != "HTTP_PROXY="+proxy.URL {
			t.Errorf("%+v: the proxy was asked for %q, git is told %q", p, asked, env)
		}
		if told := p.variables(); (len(told) == 0) != (p == Proxy{}) {
			t.Errorf("%+v: builds are told %v", p, told)
		}
	}
}
