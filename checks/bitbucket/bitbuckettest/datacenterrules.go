package bitbuckettest

import (
	"fmt"
	"slices"
	"strings"
)

// dataCenterRules are what Data Center demands of bodies beyond what a description can say, by the method and the path of
// the operation.
var dataCenterRules = map[string]func(object) []string{
	"POST " + dcCommit + "/builds":          func(o object) []string { return dcAddress(o, "url") },
	"POST " + dcLegacyBuild:                 func(o object) []string { return dcAddress(o, "url") },
	"PUT " + dcReport:                       dcReportRules,
	"POST " + dcReport + "/annotations":     dcAnnotationRules,
	"POST " + dcRepo + "/webhooks":          func(o object) []string { return dcAddress(o, "url") },
	"PUT " + dcRepo + "/webhooks/{webhook}": func(o object) []string { return dcAddress(o, "url") },
	"POST " + dcPull + "/comments":          dcCommentRules,
	"PUT " + dcPull + "/comments/{comment}": dcCommentRules,
}

// The beginnings of many paths.
const (
	dcProject = "/api/latest/projects/{project}"
	dcRepo    = "/api/latest/projects/{project}/repos/{repo}"
	dcCommit  = dcRepo + "/commits/{commit}"
	dcPull    = dcRepo + "/pull-requests/{pull}"
	dcReport  = "/insights/latest/projects/{project}/repos/{repo}/commits/{commit}/reports/{report}"
)

// dcAddress says that a text is no address of the web, if there is one.
func dcAddress(o object, key string) []string {
	text, given := o[key].(string)
	if !given {
		return nil
	}
	if !absolute(text) {
		return []string{fmt.Sprintf("%s is no address: %q", key, text)}
	}
	return nil
}

func dcCommentRules(o object) []string {
	if text, given := o["text"].(string); given && strings.TrimSpace(text) == "" {
		return []string{"text is blank"}
	}
	return nil
}

func dcReportRules(o object) []string {
	wrong := append(dcAddress(o, "link"), dcAddress(o, "logoUrl")...)
	data, _ := o["data"].([]any)
	for i, d := range data {
		item, _ := d.(object)
		if what := dcDataRule(item); what != "" {
			wrong = append(wrong, fmt.Sprintf("data %d: %s", i, what))
		}
	}
	return wrong
}

// dcDataRule says what is wrong with the value of one of the data of a report; the type decides on what it must be.
func dcDataRule(o object) string {
	fits := true
	switch o["type"] {
	case "BOOLEAN":
		_, fits = o["value"].(bool)
	case "DATE", "DURATION", "NUMBER":
		_, fits = o["value"].(float64)
	case "PERCENTAGE":
		n, isNumber := o["value"].(float64)
		fits = isNumber && n >= 0 && n <= 100
	case "TEXT":
		_, fits = o["value"].(string)
	case "LINK":
		link, _ := o["value"].(object)
		fits = link != nil && dcAddress(link, "href") == nil
	}
	if !fits {
		return fmt.Sprintf("%v is no value of the type %v", o["value"], o["type"])
	}
	return ""
}

func dcAnnotationRules(o object) []string {
	var wrong []string
	list, _ := o["annotations"].([]any)
	for i, a := range list {
		annotation, _ := a.(object)
		path, given := annotation["path"].(string)
		if given && (path == "" || strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..")) {
			wrong = append(wrong, fmt.Sprintf("annotation %d: %q is no path in the repository", i, path))
		}
		if line, _ := annotation["line"].(float64); line > 0 && path == "" {
			wrong = append(wrong, fmt.Sprintf("annotation %d: line %v of no file", i, line))
		}
		for _, what := range dcAddress(annotation, "link") {
			wrong = append(wrong, fmt.Sprintf("annotation %d: %s", i, what))
		}
	}
	return wrong
}
