package bitbuckettest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dcProblem is a refusal in the form of Data Center. The exception is the name of a class of Java's, without its package if
// that is com.atlassian.bitbucket.
func dcProblem(status int, exception, format string, args ...any) *answer {
	if !strings.HasPrefix(exception, "com.") {
		exception = "com.atlassian.bitbucket." + exception
	}
	return &answer{status: status, body: object{"errors": []object{{"context": nil, "message": fmt.Sprintf(format, args...), "exceptionName": exception}}}}
}

// broken says that the server itself is at fault.
func (d *dataCenter) broken(err error) *answer {
	return dcProblem(http.StatusInternalServerError, "ServerException", "%v", err)
}

// unreadable says that a body is not what it should be.
func (d *dataCenter) unreadable(err error) *answer {
	return d.refusal(http.StatusBadRequest, err.Error())
}

// The number of things on a page: when nothing is said, and at most, however many are asked for.
const (
	dcPage     = 25
	dcLongPage = 1000
)

// dcPageOf answers with the part of a list that the query asks for.
func dcPageOf(c *call, list []object) *answer {
	limit := c.number("limit", dcPage, 1, dcLongPage)
	start := c.number("start", 0, 0, len(list))
	end := min(len(list), start+limit)
	o := object{"size": end - start, "limit": limit, "isLastPage": end == len(list), "start": start, "nextPageStart": nil, "values": append([]object{}, list[start:end]...)}
	if end < len(list) {
		o["nextPageStart"] = end
	}
	return ok(o)
}

// dcTime is a time as the API has it, in milliseconds.
func dcTime(t time.Time) int64 { return t.UnixMilli() }

// dcDate is a time as deliveries have it.
func dcDate(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05-0700") }

// dcShort is the first part of a hash, as Data Center shows it.
func dcShort(hash string) string { return hash[:11] }

// dcRef is a branch or a tag.
func dcRef(ref string) object {
	if name, isTag := strings.CutPrefix(ref, "refs/tags/"); isTag {
		return object{"id": ref, "displayId": name, "type": "TAG"}
	}
	return object{"id": ref, "displayId": strings.TrimPrefix(ref, "refs/heads/"), "type": "BRANCH"}
}

// dcVersion takes a version such as 8.19.0 apart.
func dcVersion(text string) (parts [3]int, err error) {
	words := strings.SplitN(text, ".", 3)
	for i := range words {
		digits, _, _ := strings.Cut(words[i], "-") // 9.0.0-rc1
		if parts[i], err = strconv.Atoi(digits); err != nil {
			return parts, fmt.Errorf("%q is no version such as 8.19.0", text)
		}
	}
	if len(words) < 2 {
		return parts, fmt.Errorf("%q is no version such as 8.19.0", text)
	}
	return parts, nil
}
