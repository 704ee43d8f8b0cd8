package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"buildsmith/checks/github"
	"buildsmith/store"
)

// silence is how long a former secret of the webhook must have signed nothing before it is forgotten.
const silence = 7 * 24 * time.Hour

// maxSecrets is how many secrets of the webhook are kept at most.
const maxSecrets = 5

// rotateSecret gives the webhook of a stored App a new secret. The former ones stay good, for what is under way and for the case
// that GitHub does not take the new one.
func (s *server) rotateSecret(ctx context.Context) error {
	s.setup.mu.Lock()
	defer s.setup.mu.Unlock()
	h := s.hubNow()
	if h == nil || !h.stored {
		return errors.New("the webhook's secrets are those of the configuration; list a new one first under webhook-secrets, and change it at GitHub")
	}
	all := append([]string{randomHex(32)}, h.secrets...)
	now, err := s.keepSecrets(all[:min(len(all), maxSecrets)], true)
	if err != nil {
		return err
	}
	if err := now.app.SetHookSecret(ctx, now.secrets[0]); err != nil {
		return fmt.Errorf("the former secret stays in use: %w", err)
	}
	s.log.Info("the webhook has a new secret")
	return nil
}

// keepSecrets stores the webhook's secrets, and has the server take what they sign from now on.
func (s *server) keepSecrets(list []string, rotated bool) (*hub, error) {
	old := s.hubNow()
	a, err := loadApp(s.config.Data)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, errors.New("the stored App is gone")
	}
	secrets, err := loadAppSecrets(s.config.Data)
	if err != nil {
		return nil, err
	}
	secrets.webhook = list
	if rotated {
		a.Rotated = s.store.Now().UTC().Truncate(time.Second)
	}
	if err := saveApp(s.config.Data, a, secrets); err != nil {
		return nil, err
	}
	h, err := openHub(s.config, s.log, s.refused)
	if err != nil {
		return nil, err
	}
	old.mu.Lock()
	h.identity, h.hook, h.read, h.err = old.identity, old.hook, old.read, old.err
	old.mu.Unlock()
	// Secrets are counted anew: what was known of the former first one holds of a former one now.
	if err := s.store.Update(func(tx *store.Tx) error {
		return tx.ChangeHook(github.Name, h.host, func(state *store.HookState) {
			if at := old.lastAt.Load(); at > state.Used.Unix() {
				state.Secret, state.Used = int(old.last.Load())-1, time.Unix(at, 0)
			}
			if rotated {
				state.Former, state.Secret = state.Used, state.Secret+1
			}
		})
	}); err != nil {
		return nil, err
	}
	s.github.Store(h)
	s.intake.AddSource(h.source())
	s.reporter.AddPublisher(github.Name, h.app)
	return h, nil
}

// forgetSecrets forgets the former secrets of a stored App's webhook, once the new one is in use and they have been silent.
func (s *server) forgetSecrets() error {
	s.setup.mu.Lock()
	defer s.setup.mu.Unlock()
	h := s.hubNow()
	if h == nil || !h.stored || len(h.secrets) < 2 {
		return nil
	}
	a, err := loadApp(s.config.Data)
	if a == nil || err != nil {
		return err
	}
	var state store.HookState
	if err := s.store.View(func(tx *store.Tx) (err error) { state, err = tx.Hook(github.Name, h.host); return err }); err != nil {
		return err
	}
	before := s.store.Now().Add(-silence)
	if state.Secret != 0 || !state.Used.After(a.Rotated) || a.Rotated.After(before) || state.Former.After(before) {
		return nil
	}
	if _, err := s.keepSecrets(slices.Clone(h.secrets[:1]), false); err != nil {
		return err
	}
	s.log.Info("the former secrets of the webhook are forgotten")
	return nil
}
