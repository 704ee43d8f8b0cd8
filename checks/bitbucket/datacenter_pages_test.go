package bitbucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"buildsmith/store"
)

// TestCenterPages reads lists of servers that know no end, go round in circles or say more than is read.
func TestCenterPages(t *testing.T) {
	t.Parallel()
	// entries answers from a list of texts, with no more than so many characters.
	entries := func(all []string, longest int) func(context.Context, string, any) error {
		return func(_ context.Context, query string, v any) error {
			q, err := url.ParseQuery(query)
			if err != nil {
				return err
			}
			var start, limit int
			fmt.Sscan(q.Get("start"), &start)
			fmt.Sscan(q.Get("limit"), &limit)
			end := min(start+limit, len(all))
			text, err := json.Marshal(map[string]any{"values": all[min(start, end):end], "isLastPage": end == len(all), "nextPageStart": end})
			if err != nil {
				return err
			}
			if len(text) > longest {
				return fmt.Errorf("asking: %w", errTooLarge)
			}
			return json.Unmarshal(text, v)
		}
	}
	many := make([]string, 230)
	for n := range many {
		many[n] = fmt.Sprint("entry ", n)
	}
	huge := slices.Clone(many[:25])
	huge[7] = strings.Repeat("x", 1000)
	fixed := func(text string) func(context.Context, string, any) error {
		return func(_ context.Context, _ string, v any) error { return json.Unmarshal([]byte(text), v) }
	}
	for name, tt := range map[string]struct {
		ask   func(context.Context, string, any) error
		limit int
		want  int
		err   error
	}{
		"some pages":         {entries(many, 10_000), 50, 230, nil},
		"in shorter ones":    {entries(many, 500), 50, 230, nil},
		"one is too long":    {entries(huge, 500), 50, 24, nil},
		"too many":           {entries(many, 10_000), 2, 200, errPages},
		"in a circle":        {fixed(`{"values":["a"],"isLastPage":false,"nextPageStart":0}`), 50, 1, nil},
		"without an end":     {fixed(`{"values":["a"],"isLastPage":false,"nextPageStart":99}`), 50, 2, nil},
		"nothing at all":     {fixed(`{}`), 50, 0, nil},
		"it is in trouble":   {func(context.Context, string, any) error { return store.ErrNotFound }, 50, 0, store.ErrNotFound},
		"all are too long":   {entries(many, 10), 50, 0, errPages},
		"null stands for no": {fixed(`{"values":null,"isLastPage":true,"nextPageStart":null}`), 50, 0, nil},
	} {
		var got []string
		err := pages(t.Context(), tt.ask, url.Values{"filter": {"x"}}, tt.limit, func(s string) bool { got = append(got, s); return true })
		if len(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d entries, %v; want %d, %v", name, len(got), err, tt.want, tt.err)
		}
	}
	n := 0
	if err := pages(t.Context(), entries(many, 10_000), nil, 50, func(string) bool { n++; return n < 60 }); err != nil || n != 60 {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestClipUnits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 5, ""}, {"abcde", 5, "abcde"}, {"abcdef", 5, "abcd…"}, {"éééééé", 5, "éééé…"}, {"😀😀", 4, "😀😀"}, {"😀😀😀", 5, "😀😀…"}, {"😀😀😀", 4, "😀…"}, {"a😀b", 4, "a😀b"}, {"\xff\xff\xff", 2, "\xff…"},
	} {
		got := clipUnits(tt.text, tt.n)
		if got != tt.want || len(utf16.Encode([]rune(got))) > tt.n {
			t.Errorf("clipUnits(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]version{"8.19.0": {8, 19}, "7.14": {7, 14}, "10.0.0-rc1": {10, 0}, "": {}, "8": {}, "x.y": {}, "8.x": {}} {
		got, err := parseVersion(text)
		if got != want || (err == nil) != (want.major > 0) {
			t.Errorf("parseVersion(%q) = %v %v, want %v", text, got, err, want)
		}
	}
	for _, tt := range []struct {
		a, b version
		want bool
	}{{version{7, 13}, firstBuilds, true}, {version{7, 14}, firstBuilds, false}, {version{8, 0}, firstBuilds, false}, {version{6, 99}, firstBuilds, true}} {
		if got := tt.a.before(tt.b); got != tt.want {
			t.Errorf("%v before %v: %v", tt.a, tt.b, got)
		}
	}
}
