package github

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestAnswersAreBounded keeps more answers than there is room for: those that were used last stay.
func TestAnswersAreBounded(t *testing.T) {
	var s answers
	for i := range maxAnswers + 10 {
		s.put(fmt.Sprint(i), known200{etag: "e", body: []byte("x")})
		if _, ok := s.get("0"); !ok {
			t.Fatalf("the answer that is used is gone after %d", i)
		}
	}
	if _, ok := s.get("1"); ok || len(s.byKey) != maxAnswers || s.used.Len() != maxAnswers || s.size != maxAnswers {
		t.Errorf("%d answers of %d bytes", len(s.byKey), s.size)
	}
	large := bytes.Repeat([]byte("x"), maxAnswerBytes)
	for i := range 2 * maxAllAnswers / maxAnswerBytes {
		s.put(fmt.Sprint("large ", i), known200{etag: "e", body: large})
	}
	if s.size > maxAllAnswers || s.used.Len() != len(s.byKey) {
		t.Errorf("%d bytes", s.size)
	}
	s.put("large 0", known200{etag: "e", body: append(large, 'x')})
	if _, ok := s.get("large 0"); ok {
		t.Error("an answer that is too large is kept")
	}
}

func TestTold(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header map[string]string
		want   time.Duration // 0: nothing is said
	}{
		"nothing":         {nil, 0},
		"seconds":         {map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"a date":          {map[string]string{"Retry-After": now.Add(time.Minute).Format(http.TimeFormat)}, time.Minute},
		"no number":       {map[string]string{"Retry-After": "soon"}, 0},
		"negative":        {map[string]string{"Retry-After": "-5"}, 0},
		"none left":       {map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": fmt.Sprint(now.Add(time.Hour).Unix())}, time.Hour},
		"some left":       {map[string]string{"X-Ratelimit-Remaining": "1", "X-Ratelimit-Reset": fmt.Sprint(now.Add(time.Hour).Unix())}, 0},
		"a reset is over": {map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": fmt.Sprint(now.Add(-time.Hour).Unix())}, 0},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		if until, said := told(h, now); said != (tt.want != 0) || said && until.Sub(now) != tt.want {
			t.Errorf("%s: %v %v", name, until, said)
		}
	}
}
