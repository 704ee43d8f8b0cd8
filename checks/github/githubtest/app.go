package githubtest

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"buildsmith/checks/forgetest"
)

// DefaultPermissions are the permissions that the app is granted unless Options say otherwise.
var DefaultPermissions = map[string]string{"metadata": "read", "contents": "read", "checks": "write", "pull_requests": "write", "issues": "read",
	"statuses": "write", "deployments": "write", "merge_queues": "read"}

// subscribed are the events that the app is subscribed to; check_run and check_suite come with the permission on checks.
var subscribed = []string{"check_run", "check_suite", "issue_comment", "merge_group", "pull_request", "push", "release", "repository"}

// hookID is the number of the app's webhook.
const hookID = 420_000_007

// PEM returns the private key of the app as GitHub hands it out.
func (s *Server) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)})
}

// getApp is GET /app.
func (s *Server) getApp(*call) *answer {
	return ok(with(s.appJSON(s.appID), object{"client_id": s.clientID(), "installations_count": len(s.installations)}))
}

// ManifestCode returns a code that POST /app-manifests/{code}/conversions takes once.
func (s *Server) ManifestCode() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := forgetest.RandomHex(20)
	s.codes[code] = true
	return code
}

// convertManifest is POST /app-manifests/{code}/conversions.
func (s *Server) convertManifest(c *call) *answer {
	if !s.codes[c.params["code"]] {
		return problem(http.StatusNotFound, "Not Found")
	}
	delete(s.codes, c.params["code"])
	return &answer{status: http.StatusCreated, body: with(s.appJSON(s.appID), object{"client_id": s.clientID(), "client_secret": forgetest.RandomHex(20),
		"webhook_secret": orNull(s.secret), "pem": string(s.PEM())})}
}

// listInstallations is GET /app/installations.
func (s *Server) listInstallations(c *call) *answer {
	list := []object{}
	for _, id := range slices.Sorted(maps.Keys(s.installations)) {
		list = append(list, s.installationJSON(s.installations[id]))
	}
	return pageOf(s, c, list, "")
}

// getInstallation is GET /app/installations/{installation_id}.
func (s *Server) getInstallation(c *call) *answer {
	inst := s.installations[c.number("installation_id")]
	if inst == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	return ok(s.installationJSON(inst))
}

// getRepoInstallation is GET /repos/{owner}/{repo}/installation.
func (s *Server) getRepoInstallation(c *call) *answer {
	inst := s.installationLocked(c.repo)
	if inst == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	return ok(s.installationJSON(inst))
}

// listRepos is GET /installation/repositories.
func (s *Server) listRepos(c *call) *answer {
	list := []object{}
	for _, id := range slices.Sorted(maps.Keys(s.repos)) {
		if s.coversLocked(c.token, s.repos[id]) {
			list = append(list, s.repoJSON(s.repos[id]))
		}
	}
	return pageOf(s, c, list, "repositories")
}

func (s *Server) hookConfigJSON() object {
	o := object{"url": s.hook, "content_type": "json", "insecure_ssl": "0"}
	if s.secret != "" {
		o["secret"] = "********"
	}
	return o
}

// getHookConfig is GET /app/hook/config.
func (s *Server) getHookConfig(*call) *answer { return ok(s.hookConfigJSON()) }

// setHookConfig is PATCH /app/hook/config. Deliveries go to the new address and are signed with the new secret.
func (s *Server) setHookConfig(c *call) *answer {
	var in struct {
		URL    *string `json:"url"`
		Secret *string `json:"secret"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	if in.URL != nil {
		s.hook = *in.URL
	}
	if in.Secret != nil {
		s.secret = *in.Secret
	}
	return ok(s.hookConfigJSON())
}

// A limit counts the requests of an installation in an hour.
type limit struct {
	used  int
	reset time.Time
}

// requestsPerHour is the primary limit of an installation.
const requestsPerHour = 5000

// count counts a request and reports whether the limit allows it.
func (l *limit) count(now time.Time) bool {
	if !now.Before(l.reset) {
		l.used, l.reset = 0, now.Add(time.Hour).Truncate(time.Second)
	}
	if l.used >= requestsPerHour {
		return false
	}
	l.used++
	return true
}

func (l *limit) header() map[string]string {
	return map[string]string{"X-Ratelimit-Limit": strconv.Itoa(requestsPerHour), "X-Ratelimit-Remaining": strconv.Itoa(requestsPerHour - l.used),
		"X-Ratelimit-Used": strconv.Itoa(l.used), "X-Ratelimit-Reset": strconv.FormatInt(l.reset.Unix(), 10), "X-Ratelimit-Resource": "core"}
}

// limitLocked returns the counter of a request: that of the installation, or the one that all others share.
func (s *Server) limitLocked(t *Token) *limit {
	if t != nil && s.installations[t.Installation] != nil {
		return &s.installations[t.Installation].limit
	}
	return &s.limit
}

// getRateLimit is GET /rate_limit. It does not count against the limit.
func (s *Server) getRateLimit(c *call) *answer {
	l := s.limitLocked(c.token)
	one := object{"limit": requestsPerHour, "used": l.used, "remaining": requestsPerHour - l.used, "reset": l.reset.Unix()}
	return ok(object{"resources": object{"core": one, "search": one}, "rate": one})
}

// listDeliveries is GET /app/hook/deliveries: the newest first, with a cursor that is the last id of the page before.
func (s *Server) listDeliveries(c *call) *answer {
	q := c.r.URL.Query()
	perPage := int(c.queryNumber("per_page", 30))
	cursor := c.queryNumber("cursor", 0)
	list := []object{}
	next := ""
	for _, d := range slices.Backward(s.deliveries) {
		if cursor != 0 && d.ID >= cursor || q.Has("status") && (q.Get("status") == "success") != d.Succeeded() {
			continue
		}
		if len(list) == perPage {
			next = strconv.FormatInt(list[len(list)-1]["id"].(int64), 10)
			break
		}
		list = append(list, d.json())
	}
	a := ok(list)
	if next != "" {
		q.Set("cursor", next)
		a.header = map[string]string{"Link": "<" + s.api("/app/hook/deliveries?%s", q.Encode()) + `>; rel="next"`}
	}
	return a
}

func (s *Server) deliveryOfCall(c *call) *Delivery {
	for _, d := range s.deliveries {
		if d.ID == c.number("delivery_id") {
			return d
		}
	}
	return nil
}

// getDelivery is GET /app/hook/deliveries/{delivery_id}.
func (s *Server) getDelivery(c *call) *answer {
	d := s.deliveryOfCall(c)
	if d == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	return ok(with(d.json(), object{"url": s.hook, "request": object{"headers": flat(d.Header), "payload": jsonOf(d.Payload)},
		"response": object{"headers": flat(d.AnswerHeader), "payload": d.AnswerBody}}))
}

// redeliver is POST /app/hook/deliveries/{delivery_id}/attempts. The delivery is sent again, with the same GUID, after
// this is answered.
func (s *Server) redeliver(c *call) *answer {
	d := s.deliveryOfCall(c)
	if d == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	again := *d
	s.later(func() { s.send(again, s.sign(again.Payload), true) })
	return &answer{status: http.StatusAccepted, body: object{}}
}
