package checks

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// pauses are how long to wait before a question is asked again. Whoever asks has a pause of its own for what does not pass soon.
var pauses = []time.Duration{200 * time.Millisecond, time.Second}

// AskAgain does something that may be done twice, a few times if it is not answered: by a bad day of a forge's, or none at all. passes
// reports whether an error may pass soon.
func AskAgain(ctx context.Context, passes func(error) bool, do func() error) error {
	err := do()
	for _, pause := range pauses {
		if err == nil || !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		err = do()
	}
	return err
}

// BrokenOff reports whether an error says that a connection ended before the answer did. That nothing came in time is another thing.
func BrokenOff(err error) bool {
	var cut net.Error
	return errors.As(err, &cut) && !cut.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
