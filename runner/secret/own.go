package secret

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"buildsmith/store"
)

// own is the server's own secrets; nil for none.
type own struct{ secrets *store.Secrets }

func (own) String() string { return "the server's own secrets" }

func (o own) value(_ context.Context, b *store.Build, src source, name string) (string, error) {
	if o.secrets == nil {
		return "", errElsewhere
	}
	pick := store.SecretPick{Stage: src.stage}
	switch {
	case src.kind == store.SecretsManager:
		pick.ID = src.version
	case src.version != "":
		n, err := strconv.Atoi(src.version)
		if err != nil || n == 0 {
			n = -1 // no version has it, and the name decides first
		}
		pick.Number = n
	}
	value, _, err := o.secrets.ValueFor(b, name, pick)
	switch {
	case err == nil:
		return value, nil
	case errors.Is(err, fs.ErrPermission):
		return "", errDenied
	case errors.Is(err, store.ErrNoVersion):
		return "", errVersion
	case errors.Is(err, store.ErrNotFound), errors.Is(err, fs.ErrInvalid):
		return "", errElsewhere
	}
	return "", err
}
