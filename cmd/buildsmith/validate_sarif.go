package main

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"buildsmith/runner/buildspec"
)

// The parts of SARIF 2.1.0 that a list of problems needs; forges and editors show it beside the lines.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		Results    []sarifResult `json:"results"`
		ColumnKind string        `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string             `json:"id"`
		Short   sarifText          `json:"shortDescription"`
		Full    sarifText          `json:"fullDescription"`
		Help    sarifText          `json:"help"`
		HelpURI string             `json:"helpUri,omitempty"`
		Default sarifConfiguration `json:"defaultConfiguration"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

// formatPage is the documentation of the format. Our page of the rules, docs/lints.md, has no address that holds
// everywhere; what it says of each rule stands in the rule's help.
const formatPage = "https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html"

// onFormatPage are the rules about which that page has something to say. The others are of YAML, of the shell or of ours.
var onFormatPage = []string{"BS002", "BS003", "BS004", "BS101", "BS102", "BS104", "BS105", "BS106", "BS202", "BS207", "BS210", "BS211", "BS212", "BS220"}

func printSARIF(out io.Writer, found []finding) error {
	driver := sarifDriver{Name: "buildsmith", Version: version(), InformationURI: formatPage}
	index := map[string]int{}
	for i, r := range buildspec.Rules() {
		level := r.Level()
		if level == "lint" {
			level = "warning"
		}
		rule := sarifRule{
			ID: r.Code, Short: sarifText{r.Title + "."}, Full: sarifText{r.Why}, Help: sarifText{r.Why + " See " + r.Code + " in docs/lints.md."},
			Default: sarifConfiguration{level},
		}
		if slices.Contains(onFormatPage, r.Code) {
			rule.HelpURI = formatPage
		}
		driver.Rules = append(driver.Rules, rule)
		index[r.Code] = i
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints"}
	for _, f := range found {
		run.Results = append(run.Results, sarifResult{
			RuleID: f.Code, RuleIndex: index[f.Code], Level: f.Level, Message: sarifText{f.Message},
			Locations: []sarifLocation{{sarifPhysical{sarifArtifact{fileURI(f.File)}, sarifRegion{f.Line, f.Column}}}},
		})
	}
	return printJSON(out, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// fileURI is the name of a file as a reference: relative to the repository, as SARIF's readers expect, if the name is.
func fileURI(name string) string {
	path := filepath.ToSlash(filepath.Clean(name))
	if strings.HasPrefix(path, "/") {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}
