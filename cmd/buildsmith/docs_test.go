package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"buildsmith/checks"
	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/prometheus/client_golang/prometheus"
)

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeHasEveryKey holds the table of the README to the configuration.
func TestReadmeHasEveryKey(t *testing.T) {
	readme := document(t, "README.md")
	var walk func(t reflect.Type, prefix string) []string
	walk = func(t reflect.Type, prefix string) (keys []string) {
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			typ := f.Type
			for typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			switch {
			case f.Anonymous && typ == reflect.TypeFor[DecisionSettings]() && prefix == "":
				keys = append(keys, walk(typ, "")...)
			case f.Anonymous || key == "": // the keys of builds, which the table sums up
			case typ == reflect.TypeFor[ForgeSettings]():
				keys = append(keys, keysOfSettings(typ, prefix+key+".")...)
			case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[Secret]():
				keys = append(keys, walk(typ, prefix+key+".")...)
			case typ == reflect.TypeFor[[]ProjectSettings]():
				keys = append(keys, walk(typ.Elem(), prefix+key+"[].")...)
			case typ == reflect.TypeFor[map[string]Registry]():
				keys = append(keys, walk(typ.Elem(), prefix+key+".<host>.")...)
			default:
				keys = append(keys, prefix+key)
			}
		}
		return keys
	}
	keys := walk(reflect.TypeFor[Config](), "")
	if len(keys) < 40 {
		t.Fatalf("%d keys", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(readme, "`"+key+"`") {
			t.Errorf("README.md: the table lacks `%s`", key)
		}
	}
}

// TestDocsHaveEveryMetric holds docs/operation.md to what /metrics tells.
func TestDocsHaveEveryMetric(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := newMetrics(s, webhook.New(webhook.Config{Store: s}), checks.New(checks.Config{Store: s}), nil)
	described := make(chan *prometheus.Desc, 100)
	m.Describe(described)
	m.builds.Describe(described)
	m.phases.Describe(described)
	close(described)
	text, n := document(t, "docs/operation.md"), 0
	for d := range described {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		if n++; !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+"{") {
			t.Errorf("docs/operation.md lacks %s", name)
		}
	}
	if n < 14 {
		t.Errorf("%d metrics", n)
	}
}
