package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/labstack/echo/v4"
)

// schema serves the JSON Schema of buildspecs to everybody: editors ask for it, without a token, and from pages of other
// origins too.
func (w *Web) schema(c echo.Context, _ *visit) error {
	if len(w.Schema) == 0 {
		return problem{http.StatusNotFound, "There is no such page", ""}
	}
	sum := sha256.Sum256(w.Schema)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := c.Response().Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("ETag", tag)
	if c.Request().Header.Get("If-None-Match") == tag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, "application/schema+json", w.Schema)
}
