package githubtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// published holds the payloads of the package of examples, by event.
var published = sync.OnceValues(func() (map[string][]json.RawMessage, error) {
	dir, err := contractsDir()
	if err != nil {
		return nil, err
	}
	data, err := readPackage(dir, examplesPackage, examplesFile)
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("reading the examples of payloads: %w", err)
	}
	all := map[string][]json.RawMessage{}
	for _, event := range list {
		all[event.Name] = append(all[event.Name], event.Examples...)
	}
	return all, nil
})

// ExampleEvents returns the names of the events that there are examples of, sorted.
func ExampleEvents() ([]string, error) {
	all, err := published()
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Examples returns real payloads of an event, as GitHub sent them; none for an event that has no examples. They are
// shared: whoever wants to change one makes a copy.
func Examples(event string) ([]json.RawMessage, error) {
	all, err := published()
	if err != nil {
		return nil, err
	}
	return slices.Clone(all[event]), nil
}

// WebhookSchema returns the JSON schema (draft 7) of all payloads. Its definitions are named push$event,
// check_run$rerequested and so on.
func WebhookSchema() ([]byte, error) {
	dir, err := contractsDir()
	if err != nil {
		return nil, err
	}
	return readPackage(dir, schemasPackage, schemasFile)
}
