package webhook

import (
	"io"

	"github.com/labstack/echo/v4"
)

// maxHello is the most bytes that a greeting has, which anybody can send.
const maxHello = 1 << 10

// greets reports whether an unsigned delivery is a greeting of its forge. No more is read of it than a greeting has, and nothing if it
// says that it has more.
func greets(source *Source, c echo.Context) bool {
	r := c.Request()
	if source.Hello == nil || r.ContentLength > maxHello {
		return false
	}
	limitTime(c)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHello+1))
	return err == nil && len(body) <= maxHello && source.Hello(r.Header, body)
}
