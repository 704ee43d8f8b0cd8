package github

import (
	"container/list"
	"sync"
)

// known200 is an answer that holds for as long as GitHub says so when asked by its tag. Asking costs nothing then.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
type known200 struct {
	key, etag string
	body      []byte
}

const (
	maxAnswers     = 512
	maxAnswerBytes = 256 << 10 // of one answer
	maxAllAnswers  = 16 << 20
)

// answers keeps the answers that were used last. The zero value is empty.
type answers struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	used  list.List // of *known200, the last used first
	size  int
}

func (s *answers) get(key string) (known200, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return known200{}, false
	}
	s.used.MoveToFront(e)
	return *e.Value.(*known200), true
}

func (s *answers) put(key string, k known200) {
	k.key = key
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = map[string]*list.Element{}
	}
	if e := s.byKey[key]; e != nil {
		s.removeLocked(e)
	}
	if len(k.body) > maxAnswerBytes {
		return
	}
	s.byKey[key] = s.used.PushFront(&k)
	for s.size += len(k.body); len(s.byKey) > maxAnswers || s.size > maxAllAnswers; {
		s.removeLocked(s.used.Back())
	}
}

func (s *answers) removeLocked(e *list.Element) {
	k := s.used.Remove(e).(*known200)
	delete(s.byKey, k.key)
	s.size -= len(k.body)
}
