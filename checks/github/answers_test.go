package github

import (
	"bytes"
	"fmt"
	"testing"
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
