package buildspec

import (
	"regexp"

	"gopkg.in/yaml.v3"
)

var runtimeVersion = regexp.MustCompile(runtimePattern)

func (p *parser) artifacts(e entry, path, id string, old bool) Artifacts {
	row := "artifacts"
	if id != "" {
		row = "artifacts.secondary-artifacts.*"
	}
	b := p.block(e.value, path, row)
	a := Artifacts{
		ID:             id,
		Files:          p.patterns(b, e.key, "files", true),
		Name:           p.scalar(b.at("name")),
		DiscardPaths:   p.flag(b.at("discard-paths")),
		BaseDirectory:  p.scalar(b.at("base-directory")),
		ExcludePaths:   p.patterns(b, e.key, "exclude-paths", false),
		EnableSymlinks: p.flag(b.at("enable-symlinks")),
		S3Prefix:       p.scalar(b.at("s3-prefix")),
		Line:           e.key.Line,
	}
	if t, at := b.at("type"); t.key != nil && !old {
		p.problemf(t.key, codeVersion, at, "belongs to version 0.1; ignored")
	}
	if old {
		p.newer(b, row)
	}
	s, at := b.at("secondary-artifacts")
	if s.key == nil {
		return a
	}
	entries := p.entries(s.value, at)
	if n := len(entries); n > maxSecondary {
		p.problemf(s.key, codeLimit, at, "%d artifacts at line %d; at most %d are allowed", n, s.key.Line, maxSecondary)
	}
	for _, e := range entries {
		if !validArtifactID(e.name) {
			p.problemf(e.key, codeValue, join(at, e.name), "%q at line %d is no artifact identifier; use letters, digits and _, fewer than 128", shorten(e.name), e.key.Line)
		}
		if e.name != "" {
			a.Secondary = append(a.Secondary, p.artifacts(e, join(at, e.name), e.name, old))
		}
	}
	return a
}

func validArtifactID(id string) bool {
	return id != "" && len(id) < 128 && validName("_"+id)
}

func (p *parser) reports(e entry) []ReportGroup {
	entries := p.entries(e.value, "reports")
	if n := len(entries); n > maxReportGroups {
		p.problemf(e.key, codeLimit, "reports", "%d report groups at line %d; at most %d are allowed", n, e.key.Line, maxReportGroups)
	}
	var groups []ReportGroup
	for _, e := range entries {
		path := join("reports", e.name)
		if !reportGroup.MatchString(e.name) {
			p.problemf(e.key, codeValue, path, "%q at line %d is no name of a report group; use letters, digits, - and _, an ARN, or a variable", shorten(e.name), e.key.Line)
			continue
		}
		b := p.block(e.value, path, "reports.*")
		format, at := b.at("file-format")
		g := ReportGroup{
			Name:          e.name,
			Files:         p.patterns(b, e.key, "files", true),
			Format:        p.oneOf(format, at, true, reportFormats...),
			BaseDirectory: p.scalar(b.at("base-directory")),
			DiscardPaths:  p.flag(b.at("discard-paths")),
			Line:          e.key.Line,
		}
		if g.Format == "" {
			g.Format = reportFormats[0]
		}
		groups = append(groups, g)
	}
	return groups
}

// reportGroup is deliberately wide: AWS documents no rule for the key, and a variable may stand anywhere in it.
var reportGroup = regexp.MustCompile(`^[^\s\x00-\x1f\x7f]{1,256}$`)

func (p *parser) cache(e entry) *Cache {
	b := p.block(e.value, "cache", "cache")
	fallback, at := b.at("fallback-keys")
	action, actionAt := b.at("action")
	c := &Cache{
		Paths:        p.patterns(b, e.key, "paths", false),
		Key:          p.scalar(b.at("key")),
		FallbackKeys: p.texts(fallback, at),
		Action:       p.oneOf(action, actionAt, true, "restore", "save"),
		Line:         e.key.Line,
	}
	if n := len(c.FallbackKeys); n > maxFallbackKeys {
		p.problemf(fallback.value, codeLimit, at, "%d keys at line %d; at most %d are allowed", n, fallback.value.Line, maxFallbackKeys)
	}
	if fallback.key != nil && c.Key == "" {
		p.problemf(fallback.key, codeNoEffect, at, "is ignored without key")
	}
	if len(c.Paths) == 0 && e.value.Kind == yaml.MappingNode && !p.has("cache.paths") {
		p.problemf(e.key, codeNoEffect, "cache.paths", "missing; nothing is cached")
	}
	return c
}
