package store

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LinkKey is the k of links to the pages of a build: whoever has the link may read them, until the epoch of the repository
// is raised.
func (tx *Tx) LinkKey(id string, r Repo) (string, error) {
	state, err := tx.RepoState(r.Key())
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, tx.bucket(bucketMeta).Get([]byte("link-key")))
	mac.Write([]byte(id))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(state.Epoch)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]), nil
}

// LinkKey is the k of links to the pages of a build or notice: see Tx.LinkKey.
func (s *Store) LinkKey(id string, r Repo) (key string, err error) {
	err = s.View(func(tx *Tx) error {
		key, err = tx.LinkKey(id, r)
		return err
	})
	return key, err
}

// AdminToken is the token that lists and actions ask for. It lies in the file admin.token of the data directory, which is
// made when it is missing.
func AdminToken(dir string) (string, error) {
	path := filepath.Join(dir, "admin.token")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret := make([]byte, 24)
		if _, err := rand.Read(secret); err != nil {
			return "", err
		}
		text = []byte(hex.EncodeToString(secret) + "\n")
		err = writeDurable(path, text)
	}
	if err != nil {
		return "", fmt.Errorf("the admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < 16 {
		return "", fmt.Errorf("the admin token in %s has fewer than 16 characters; remove the file to have one made", path)
	}
	return token, nil
}
