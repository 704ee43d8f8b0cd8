package webhook

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// TestHello answers greetings, which nobody signs, and takes nothing else that is unsigned for one. Nothing of it is stored.
func TestHello(t *testing.T) {
	d := newDesk(t)
	hello := func(h http.Header, body []byte) bool { return h.Get("Event") == "ping" && string(body) == "hello" }
	for name, tt := range map[string]struct {
		hello            func(http.Header, []byte) bool
		event, signature string
		body             string
		unknownLength    bool
		status           int
		want             string
	}{
		"a greeting":               {hello, "ping", "", "hello", false, 200, `{"hello":true}`},
		"of unknown length":        {hello, "ping", "", "hello", true, 200, `{"hello":true}`},
		"another event":            {hello, "push", "", "hello", false, 401, unsigned},
		"another body":             {hello, "ping", "", "{}", false, 401, unsigned},
		"no body":                  {hello, "ping", "", "", false, 401, unsigned},
		"a forge without any":      {nil, "ping", "", "hello", false, 401, unsigned},
		"a forged signature":       {hello, "ping", "bad", "hello", false, 401, unsigned},
		"too long":                 {func(http.Header, []byte) bool { return true }, "ping", "", strings.Repeat("x", maxHello+1), false, 401, unsigned},
		"too long without telling": {func(http.Header, []byte) bool { return true }, "ping", "", strings.Repeat("x", maxHello+1), true, 401, unsigned},
		"as long as may be":        {func(http.Header, []byte) bool { return true }, "ping", "", strings.Repeat("x", maxHello), true, 200, `{"hello":true}`},
		"without a secret":         {hello, "ping", "none configured", "hello", false, 503, "no webhook secret is configured"},
	} {
		before, refused := d.intake.Greetings.Load(), d.intake.Unsigned.Load()
		source := *d.intake.source("test")
		source.Hello = tt.hello
		d.intake.AddSource(source)
		r := httptest.NewRequest(http.MethodPost, "/webhook/test", strings.NewReader(tt.body))
		if tt.unknownLength {
			r.ContentLength = -1
		}
		for key, value := range map[string]string{"Content-Type": "application/json", "Id": "1", "Event": tt.event, "Signature": tt.signature} {
			r.Header.Set(key, value)
		}
		w := httptest.NewRecorder()
		e := echo.New()
		d.intake.Register(e)
		if e.ServeHTTP(w, r); w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, tt.status, tt.want)
		}
		if n, u := d.intake.Greetings.Load()-before, d.intake.Unsigned.Load()-refused; (n == 1) != (tt.status == 200) || (u == 1) != (tt.status == 401) {
			t.Errorf("%s: counted %d greetings and %d unsigned", name, n, u)
		}
	}
	// A signed one is a delivery as any other.
	source := *d.intake.source("test")
	source.Hello = func(http.Header, []byte) bool { return true }
	d.intake.AddSource(source)
	if status, body := d.post("/webhook/test", "1", "ping", "good", []byte("{}")); status != 202 || strings.TrimSpace(body) != `{"delivery":1}` {
		t.Errorf("signed: %d %s", status, body)
	}
	var list []store.Delivery
	if err := d.store.View(func(tx *store.Tx) (err error) { list, err = tx.Deliveries(0, 10); return err }); err != nil || len(list) != 1 {
		t.Errorf("stored %+v, %v", list, err)
	}
}

// TestHelloIsNotReadOn has a body that never ends stand where a greeting may be: no more is read of it than a greeting has.
func TestHelloIsNotReadOn(t *testing.T) {
	d := newDesk(t)
	source := *d.intake.source("test")
	source.Hello = func(http.Header, []byte) bool { return true }
	d.intake.AddSource(source)
	for _, length := range []int64{-1, 1 << 20} {
		body := &counting{}
		r := httptest.NewRequest(http.MethodPost, "/webhook/test", io.MultiReader(bytes.NewReader(nil), body))
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e := echo.New()
		d.intake.Register(e)
		if e.ServeHTTP(w, r); w.Code != 401 || body.read > 2*maxHello || length > 0 && body.read > 0 {
			t.Errorf("length %d: %d after %d bytes", length, w.Code, body.read)
		}
	}
}
