package store

// Refs are the refs of a repository of the built-in forge, with the hashes that have been delivered. The map is the caller's.
func (tx *Tx) Refs(repo string) (map[string]string, error) {
	refs, _, err := get[map[string]string](tx, bucketRefs, []byte(repo))
	if refs == nil {
		refs = map[string]string{}
	}
	return refs, err
}

// SetRefs records what has been delivered.
func (tx *Tx) SetRefs(repo string, refs map[string]string) error {
	return put(tx, bucketRefs, []byte(repo), refs)
}
