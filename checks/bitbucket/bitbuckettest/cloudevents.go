package bitbuckettest

// event is the key and the payload of an event.
func (f cloud) event(s *Server, e event) (key string, payload object, err error) {
	return "", nil, nil
}
