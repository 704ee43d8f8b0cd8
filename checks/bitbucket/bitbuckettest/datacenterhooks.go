package bitbuckettest

import (
	"encoding/base64"
	"net/http"
	"slices"
)

// dcHook is a webhook as it is sent.
type dcHook struct {
	Name          string   `json:"name"`
	URL           string   `json:"url"`
	Active        *bool    `json:"active"`
	Verify        *bool    `json:"sslVerificationRequired"`
	Events        []string `json:"events"`
	Configuration struct {
		Secret *string `json:"secret"`
	} `json:"configuration"`
	Credentials *struct {
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"credentials"`
}

// into writes what was sent into a hook. A secret that was not sent stays as it was.
func (in dcHook) into(h *Hook) {
	h.Name, h.URL, h.Events = in.Name, in.URL, slices.Clone(in.Events)
	h.Active, h.VerifySSL = in.Active == nil || *in.Active, in.Verify == nil || *in.Verify
	if in.Configuration.Secret != nil {
		h.Secret = *in.Configuration.Secret
	}
	h.Authorization = ""
	if in.Credentials != nil {
		h.Authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(in.Credentials.Username+":"+in.Credentials.Password))
	}
}

// dcHookJSON is a webhook as answers have it. Its secret does not come back: a bot that asks for it has lost it.
func dcHookJSON(h *Hook) object {
	return object{"id": h.ID, "name": h.Name, "createdDate": dcTime(h.Created), "updatedDate": dcTime(h.Updated), "events": append([]string{}, h.Events...),
		"configuration": object{"createdBy": "bitbucket"}, "url": h.URL, "active": h.Active, "scopeType": "repository", "sslVerificationRequired": h.VerifySSL}
}

// hooks is GET .../webhooks: those of the repository, without those of its project.
func (d *dataCenter) hooks(s *Server, c *call) *answer {
	list := []object{}
	for _, h := range s.hooks {
		if h.repo == c.repo && (c.query("event") == "" || slices.Contains(h.Events, c.query("event"))) {
			list = append(list, dcHookJSON(h))
		}
	}
	return dcPageOf(c, list)
}

// hookOf returns the hook that the path of a call names.
func (d *dataCenter) hookOf(s *Server, c *call, id int64) (*Hook, *answer) {
	for _, h := range s.hooks {
		if h.repo == c.repo && h.ID == id {
			return h, nil
		}
	}
	return nil, dcProblem(http.StatusNotFound, "webhook.NoSuchWebhookException", "There is no webhook %d of %s.", id, d.fullName(c.repo))
}

// getHook is GET .../webhooks/{webhook}.
func (d *dataCenter) getHook(s *Server, c *call) *answer {
	h, refused := d.hookOf(s, c, c.param("webhook"))
	if refused != nil {
		return refused
	}
	return ok(dcHookJSON(h))
}

// addHook is POST .../webhooks.
func (d *dataCenter) addHook(s *Server, c *call) *answer {
	var in dcHook
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	var h Hook
	in.into(&h)
	return made(dcHookJSON(s.addHookLocked(c.repo, h)))
}

// editHook is PUT .../webhooks/{webhook}.
func (d *dataCenter) editHook(s *Server, c *call) *answer {
	h, refused := d.hookOf(s, c, c.param("webhook"))
	if refused != nil {
		return refused
	}
	var in dcHook
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	in.into(h)
	h.Updated = s.now()
	return ok(dcHookJSON(h))
}

// deleteHook is DELETE .../webhooks/{webhook}.
func (d *dataCenter) deleteHook(s *Server, c *call) *answer {
	h, refused := d.hookOf(s, c, c.param("webhook"))
	if refused != nil {
		return refused
	}
	s.removeHookLocked(h)
	return nothing()
}

// testHook is POST .../webhooks/test: a ping, not signed, to an address or to a hook that is there. The answer has what came
// of it.
func (d *dataCenter) testHook(s *Server, c *call) *answer {
	hook := Hook{URL: c.query("url"), repo: c.repo}
	if id := c.number("webhookId", 0, 1, 1<<40); id != 0 {
		h, refused := d.hookOf(s, c, int64(id))
		if refused != nil {
			return refused
		}
		hook = *h
	}
	if !absolute(hook.URL) {
		return d.refusal(http.StatusBadRequest, "There is no address to test: it takes url or webhookId.")
	}
	hook.Secret = "" // pings are not signed
	delivery := Delivery{Event: "diagnostics:ping", Repository: d.fullName(c.repo), Payload: []byte(`{"test":true}`)}
	s.mu.Unlock() // the answer may take its time
	delivery = s.sendTimes(letter{hook, delivery}, nil, 1)
	s.mu.Lock()
	return ok(object{"request": object{"url": hook.URL, "method": http.MethodPost, "body": string(delivery.Payload)},
		"response": object{"statusCode": delivery.StatusCode, "body": delivery.AnswerBody}})
}
