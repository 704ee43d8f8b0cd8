package bitbucket

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"buildsmith/store"
)

// slug is the name of a repository in an address; it is more than dots.
const slug = `[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*`

var (
	// cloudName is the full name of a repository of Cloud: workspace/slug.
	cloudName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*/` + slug + `$`)
	// projectKey is the key of a project of a Data Center; that of a personal one is the user's slug behind a tilde.
	projectKey = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_-]*|~` + slug + `)$`)
	serverSlug = regexp.MustCompile(`^` + slug + `$`)

	uuid      = regexp.MustCompile(`^\{?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?$`)
	accountID = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,128}$`)
	someHash  = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

// maxName is the most bytes that a full name may have.
const maxName = 300

// uuidOf gives a UUID without braces in small letters; empty if the text is none.
func uuidOf(text string) string {
	if found := uuid.FindStringSubmatch(strings.ToLower(text)); found != nil {
		return found[1]
	}
	return ""
}

// idOf gives the text of a numeric id; empty if it is not positive.
func idOf(id int64) string {
	if id <= 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// hashOf gives a hash, which may be shortened; empty if the text is none.
func hashOf(text string) string {
	if someHash.MatchString(text) {
		return text
	}
	return ""
}

// zeros stand for no commit.
var zeros = strings.Repeat("0", 40)

// noCommit reports whether a hash stands for no commit: of a ref that is not there yet, or no longer.
func noCommit(hash string) bool { return hash != "" && strings.Trim(hash, "0") == "" }

// loginOf makes a name that people chose for themselves one that stands in a line of Markdown.
func loginOf(name string) string {
	const longest = 100 // characters
	name = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(name, ""), func(r rune) bool {
		return r == '`' || !unicode.IsGraphic(r)
	}), " ")
	if runes := []rune(name); len(runes) > longest {
		name = string(runes[:longest])
	}
	return strings.TrimSpace(name)
}

// installation is the number of the credential that is for a repository.
func (c Config) installation(repo string) int64 {
	if c.Installation == nil {
		return 0
	}
	return c.Installation(repo)
}

// A stamp is a time as payloads have it: a text, or milliseconds since 1970. What is neither is no time.
type stamp struct{ time.Time }

// UnmarshalJSON reads a stamp.
func (s *stamp) UnmarshalJSON(text []byte) error {
	if milliseconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		s.Time = time.UnixMilli(milliseconds).UTC()
		return nil
	}
	var written string
	if !bytes.HasPrefix(text, []byte(`"`)) || json.Unmarshal(text, &written) != nil {
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if at, err := time.Parse(layout, written); err == nil {
			s.Time = at.UTC()
			return nil
		}
	}
	return nil
}

// refOf gives a ref; empty if the text is none.
func refOf(text string) string {
	if store.ValidRef(text) {
		return text
	}
	return ""
}
