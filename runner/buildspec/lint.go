package buildspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Lint looks in a valid buildspec for what runs, but has surprised people: see docs/lints.md. The text is the one that the
// Spec was parsed from; for a nil Spec there is nothing to say. What it finds are warnings, sorted by place, without those
// that comments of the file silence, and with those comments that silence nothing.
func Lint(text []byte, spec *Spec) []Problem {
	if spec == nil {
		return nil
	}
	p := &parser{text: text, index: map[string]entry{}}
	if p.parse() == nil {
		return nil // another text
	}
	l := &linter{parser: &parser{text: text, index: p.index}, spec: spec, begins: map[int]int{}}
	l.values()
	l.commands()
	ignored := readIgnores(text)
	ignored.begins = l.begins
	ignored.silence(p.problems) // which marks the comments that Parse has heeded
	found := ignored.silence(l.parser.problems)
	return Sorted(append(found, ignored.useless()...))
}

// A linter goes through a Spec. Its parser collects the problems and knows the places of values.
type linter struct {
	*parser
	spec   *Spec
	begins map[int]int // see ignores
}

// value is the node of the value at a path, or nil.
func (l *linter) value(path string) *yaml.Node { return l.index[path].value }

// each calls fn for the items of a list of texts.
func (l *linter) each(path string, fn func(n *yaml.Node, text string)) {
	for _, item := range l.items(l.index[path], path) {
		fn(item, item.Value)
	}
}

// values looks at everything but commands.
func (l *linter) values() {
	for _, path := range []string{"env.variables", "environment_variables.plaintext"} {
		l.variables(path, l.spec.Env.Variables)
	}
	if b := l.spec.Batch; b != nil {
		l.batch(b)
	}
	for _, phase := range phaseNames {
		path := "phases." + phase.key + ".on-failure"
		if n := l.value(path); n != nil {
			if m := retry.FindStringSubmatch(strings.TrimSpace(n.Value)); m != nil && !retryCount.MatchString(m[1]) {
				l.problemf(n, codeRetry, path, "starts the build again up to %d times; say how often it may: RETRY-1", defaultRetries)
			}
		}
	}
	for _, name := range l.spec.Env.Exported {
		is := func(v Variable) bool { return v.Name == name }
		l.each("env.exported-variables", func(n *yaml.Node, text string) {
			switch {
			case text != name:
			case slices.ContainsFunc(l.spec.Env.ParameterStore, is) || slices.ContainsFunc(l.spec.Env.SecretsManager, is):
				l.problemf(n, codeExport, "env.exported-variables", "%s is a secret and is not exported; leave it out", name)
			case strings.HasPrefix(name, "AWS_"):
				l.problemf(n, codeExport, "env.exported-variables", "%s is not exported, since names that begin with AWS_ never are; export it under another name", name)
			}
		})
	}
	l.paths()
}

func (l *linter) batch(b *Batch) {
	for i, t := range b.List {
		path := fmt.Sprintf("batch.%s[%d].env", b.Type, i)
		l.image(path+".image", t.Env.Image)
		l.variables(path+".variables", t.Env.Variables)
	}
	if b.Matrix == nil {
		return
	}
	path := "batch." + BuildMatrix + ".dynamic.env"
	for _, image := range b.Matrix.Images {
		l.image(path+".image", image)
	}
	for _, v := range b.Matrix.Variables {
		l.each(path+".variables."+v.Name, func(n *yaml.Node, text string) { l.variable(n, path+".variables."+v.Name, v.Name, text) })
	}
}

// image tells of an image that is another one from one day to the next.
func (l *linter) image(path, image string) {
	if message := unpinned(image); message != "" {
		l.each(path, func(n *yaml.Node, text string) {
			if text == image {
				l.problemf(n, codeUnpinned, path, "%s", message)
			}
		})
	}
}

// unpinned is what is to be said of the name of an image, if anything is.
func unpinned(image string) string {
	if image == "" || strings.Contains(image, "$") || strings.Contains(image, "@sha256:") {
		return ""
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, tagged := strings.Cut(name, ":")
	if tagged && tag != "latest" {
		return ""
	}
	return fmt.Sprintf("%s may be another image tomorrow; name a version, such as %s:1.2, or a digest", shorten(image), shorten(strings.TrimSuffix(image, ":latest")))
}

func (l *linter) variables(path string, variables []Variable) {
	for _, v := range variables {
		at := join(path, v.Name)
		if n := l.value(at); n != nil {
			l.variable(n, at, v.Name, v.Value)
		}
	}
}

var (
	expansion  = regexp.MustCompile("\\$[A-Za-z_{(]|`[^`]+`")
	secretName = regexp.MustCompile(`(?i)(^|_)(passwd|password|pwd|secret|token|api_?key|private_?key|secret_?key|access_?key|credentials?)$`)
	secretText = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{20}|\bglpat-[A-Za-z0-9_-]{20}|\bnpm_[A-Za-z0-9]{36}\b|` +
		`\bxox[abprs]-[A-Za-z0-9-]{10}|\bsk_live_[A-Za-z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@$]+:[^/\s:@$]+@`)
	noSecret = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|none|null|[0-9]{0,3}|[./~].*|arn:.*|https?://.*|<.*>|\*+|x+)$`)
)

func (l *linter) variable(n *yaml.Node, path, name, value string) {
	switch {
	case secretText.MatchString(value), secretName.MatchString(name) && !noSecret.MatchString(value) && !expansion.MatchString(value):
		l.problemf(n, codeSecret, path, "looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager")
	case expansion.MatchString(value) || strings.HasPrefix(value, "~/"):
		l.problemf(n, codeLiteral, path, "is taken as it stands, nothing in it is expanded; set it in a command: export %s=\"…\"", name)
	}
}

// directories are names that no file of a build has.
var directories = []string{"artifacts", "bin", "build", "cdk.out", "coverage", "dist", "docs", "html", "lib", "node_modules", "out", "output", "packages", "public",
	"release", "reports", "site", "src", "target", "test-results", "vendor", "venv", ".venv", "www", ".next", ".nuxt", ".gradle", ".m2", ".npm", ".cache", ".ivy2", ".sbt"}

// paths tells of patterns that name a directory, which matches nothing.
func (l *linter) paths() {
	lists := []string{"artifacts.files"}
	if l.spec.Artifacts != nil {
		for _, a := range l.spec.Artifacts.Secondary {
			lists = append(lists, "artifacts.secondary-artifacts."+a.ID+".files")
		}
	}
	for _, r := range l.spec.Reports {
		lists = append(lists, "reports."+r.Name+".files")
	}
	for _, path := range lists {
		l.each(path, func(n *yaml.Node, text string) {
			if isDirectory(text) {
				l.problemf(n, codeDirectory, path, "%q names a directory, which matches no file; write '%s'", shorten(text), shorten(everythingBelow(text)))
			}
		})
	}
	l.each("cache.paths", func(n *yaml.Node, text string) {
		base := text[strings.LastIndexByte(text, '/')+1:]
		if isDirectory(text) || !strings.ContainsAny(text, "*?[") && !strings.Contains(strings.TrimPrefix(base, "."), ".") {
			l.problemf(n, codeCachePath, "cache.paths", "%q names a directory, for which CodeBuild's caches in S3 take nothing; write '%s'", shorten(text), shorten(everythingBelow(text)))
		}
	})
}

func isDirectory(text string) bool {
	if strings.ContainsAny(text, "*?[") && !strings.HasSuffix(text, "/") {
		return false
	}
	base := text[strings.LastIndexByte(text, '/')+1:]
	return base == "" || base == "." || base == ".." || slices.Contains(directories, base)
}

func everythingBelow(text string) string {
	switch text = strings.TrimRight(text, "/"); text {
	case "", ".":
		return "**/*"
	}
	return text + "/**/*"
}
