package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
)

// Violations returns what was found so far. New fails the test for each that is left when it ends.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// TakeViolations returns what was found so far and forgets it: for tests of what happens after one.
func (s *Server) TakeViolations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.violations
	s.violations = nil
	return taken
}

func (s *Server) violateLocked(r *http.Request, path, format string, args ...any) {
	s.violations = append(s.violations, Violation{At: s.now(), Method: r.Method, Path: path, What: fmt.Sprintf(format, args...)})
}

// Tokens returns the tokens that there are, the oldest first.
func (s *Server) Tokens() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.tokens)
}

// Requests returns the API requests so far, the oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests there were of an operation, named as in the description, below the base path.
func (s *Server) Count(method, operation string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method && r.Operation == operation {
			n++
		}
	}
	return n
}

// GitAccesses returns the requests of git over HTTP so far, the oldest first.
func (s *Server) GitAccesses() []GitAccess {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accesses)
}

// Deliveries returns the deliveries so far, each attempt, the oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copies(s.deliveries)
}

func copies[T any](list []*T) []T {
	var all []T
	for _, one := range list {
		all = append(all, *one)
	}
	return all
}
