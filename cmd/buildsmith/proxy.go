package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"buildsmith/store"

	"golang.org/x/net/http/httpproxy"
)

// environment is the proxy as git reads it.
func (p Proxy) environment() []string {
	var env []string
	for _, v := range p.variables() {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// variables are the proxy as programs in builds read it: some know the names in capitals, some the others.
func (p Proxy) variables() []store.Variable {
	var list []store.Variable
	add := func(value string, names ...string) {
		for _, name := range names {
			if value != "" {
				list = append(list, store.Variable{Name: name, Value: value})
			}
		}
	}
	add(p.HTTP, "HTTP_PROXY", "http_proxy")
	add(p.HTTPS, "HTTPS_PROXY", "https_proxy")
	add(p.No, "NO_PROXY", "no_proxy")
	return list
}

// forForges is the configured proxy, or the environment's.
func (p Proxy) forForges() Proxy {
	if p != (Proxy{}) {
		return p
	}
	e := httpproxy.FromEnvironment()
	return Proxy{HTTP: e.HTTPProxy, HTTPS: e.HTTPSProxy, No: e.NoProxy}
}

// systemAuthorities are the files in which distributions keep the authorities that a machine trusts: Debian's, Fedora's,
// openSUSE's.
var systemAuthorities = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"}

// gitAuthorities gives git a file of the machine's certificate authorities and the configured ones: it takes one file in the
// place of its own. The path is empty if none are configured.
func (c *Config) gitAuthorities() (string, error) {
	if c.CABundle == "" {
		return "", nil
	}
	all, err := os.ReadFile(c.CABundle)
	if err != nil {
		return "", fmt.Errorf("ca-bundle: %w", err)
	}
	for _, path := range systemAuthorities {
		if text, err := os.ReadFile(path); err == nil {
			all = slices.Concat(all, []byte("\n"), text)
			break
		}
	}
	path := filepath.Join(c.Data, "ca-bundle.pem")
	return path, os.WriteFile(path, all, 0o644)
}

// transport is what requests to forges go through: the configured proxy, or the environment's, and the machine's
// certificate authorities with the configured ones.
func (c *Config) transport() (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	p := c.Proxy.forForges()
	choose := (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}).ProxyFunc()
	t.Proxy = func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
	if c.CABundle == "" {
		return t, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	text, err := os.ReadFile(c.CABundle)
	if err != nil {
		return nil, fmt.Errorf("ca-bundle: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca-bundle: %s holds no certificate in PEM form", c.CABundle)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}
