package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
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

// transport is what requests to forges go through: the configured proxy, or the environment's, and the machine's
// certificate authorities with the configured ones.
func (c *Config) transport() (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	if p := c.Proxy; p != (Proxy{}) {
		choose := (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}).ProxyFunc()
		t.Proxy = func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
	}
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
