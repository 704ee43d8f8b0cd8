package githubtest

import (
	"net/http"
	"time"

	"buildsmith/checks/forgetest"
)

// Chaos is a GitHub on a bad day.
type Chaos = forgetest.Chaos

// A Mishap is something that Chaos did.
type Mishap = forgetest.Mishap

// The ways in which chaos fails a request.
var requestMishaps = []forgetest.RequestMishap{
	{What: "500", Fault: Fault{Status: http.StatusInternalServerError, Body: `{"message": "Server Error"}`}},
	{What: "502", Fault: Fault{Status: http.StatusBadGateway, Body: "<html>Unicorn!</html>"}},
	{What: "503", Fault: Fault{Status: http.StatusServiceUnavailable, Body: `{"message": "Service Unavailable"}`}},
	{What: "403 secondary limit", Fault: SecondaryLimit(http.StatusForbidden, time.Second)},
	{What: "429 secondary limit", Fault: SecondaryLimit(http.StatusTooManyRequests, time.Second)},
	{What: "cut before", Fault: Fault{Cut: true}},
	{What: "answer lost", Fault: Fault{Lost: true}},
}

// SetChaos begins a bad day, or ends it with the zero value. The mishaps so far stay.
func (s *Server) SetChaos(c Chaos) error { return s.weather.Set(c) }

// Mishaps returns what chaos did so far, the oldest first.
func (s *Server) Mishaps() []Mishap { return s.weather.Mishaps() }

// sendIn sends a delivery as the weather lets it. One that is held back is sent later by itself; what is returned then has no
// status yet.
func (s *Server) sendIn(d Delivery, header map[string]string) Delivery {
	if d.GUID == "" {
		d.GUID = forgetest.NewGUID()
	}
	var sent *Delivery
	switch s.weather.Deliver(d.Event+" "+d.GUID, func() {
		if now := s.send(d, header, false); sent == nil {
			sent = &now
		}
	}) {
	case forgetest.Dropped:
		return s.sendTo("", d, header, false)
	case forgetest.Held:
		held := d // which is still to be sent as it is
		held.Status = "held back"
		return held
	}
	return *sent
}

// chaosActs are for whoever wants a bad day.
func chaosActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"chaos": act(func(s *Server, in forgetest.ChaosAct) (any, error) {
			c, err := in.Read()
			if err != nil {
				return nil, err
			}
			return object{}, s.SetChaos(c)
		}),
		"redeliver": act(func(s *Server, _ object) (any, error) { return object{"redelivered": s.RedeliverFailed()}, nil }),
	}
}

// RedeliverFailed sends again what was never delivered, as the button Redeliver does: each delivery of which no attempt
// succeeded, the oldest first. It returns how many there were.
func (s *Server) RedeliverFailed() int {
	var order []string
	last, done := map[string]Delivery{}, map[string]bool{}
	for _, d := range s.Deliveries() {
		if _, seen := last[d.GUID]; !seen {
			order = append(order, d.GUID)
		}
		last[d.GUID] = d
		done[d.GUID] = done[d.GUID] || d.Succeeded()
	}
	n := 0
	for _, guid := range order {
		if !done[guid] {
			again := last[guid]
			s.send(again, s.sign(again.Payload), true)
			n++
		}
	}
	return n
}
