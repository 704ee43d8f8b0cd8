package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics tells Prometheus how the server does. What can be read from the store is read when it is asked for; what happens
// is counted as builds end.
type metrics struct {
	registry *prometheus.Registry
	store    *store.Store
	intake   *webhook.Intake
	reporter *checks.Reporter
	members  func() []member

	builds *prometheus.CounterVec
	phases *prometheus.HistogramVec

	begun time.Time // what ended before was counted by an earlier process

	mu    sync.Mutex
	under map[string]bool // builds that had not ended when last looked
	last  uint64          // number of the last build seen
}

var (
	descDeliveries = describe("deliveries_total", "Deliveries by what the webhook answered.", "answer")
	descUnknown    = describe("deliveries_unknown_total", "Deliveries of events or actions that this program does not know.")
	descPending    = describe("deliveries_pending", "Deliveries that nobody has decided on.")
	descQueue      = describe("queue_builds", "Builds that wait for a slot.")
	descRunning    = describe("running_builds", "Builds that have a slot.")
	descOldest     = describe("queue_oldest_seconds", "How long the oldest build in the queue has waited.")
	descLag        = describe("report_lag_seconds", "How long the last final report took from the end of its build.")
	descUnsaid     = describe("reports_pending", "Builds and notices whose forge may not know how they stand.")
	descReports    = describe("reports_total", "Reports by what the forge answered.", "answer")
	descRequests   = describe("forge_requests_total", "Requests to a forge by outcome.", "forge", "outcome")
	descWrites     = describe("forge_writes_total", "Requests to a forge that change something there.", "forge")
	descUnchanged  = describe("forge_unchanged_total", "Questions to a forge whose answer was known and still holds.", "forge")
	descHeldBack   = describe("forge_held_back_total", "Requests and reports that waited for a limit, by whose it is.", "limit")
	descLimited    = describe("forge_limited_seconds", "How long a forge takes nothing more of an installation.", "forge", "installation")
	descSingle     = describe("reports_single", "Accounts whose new builds have one check each, because there were too many requests.")
	descRemaining  = describe("forge_requests_remaining", "Requests that an installation has left in this hour.", "forge", "installation")
	descFree       = describe("disk_free_bytes", "Free bytes of the disk below the data directory.")
	descReserve    = describe("disk_reserve_bytes", "Free bytes below which nothing new begins.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("buildsmith_"+name, help, labels, nil)
}

func newMetrics(s *store.Store, i *webhook.Intake, r *checks.Reporter, members func() []member) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), store: s, intake: i, reporter: r, members: members, begun: s.Now(), under: map[string]bool{},
		builds: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "buildsmith_builds_total", Help: "Builds that ended, by status."}, []string{"status"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "buildsmith_phase_seconds", Help: "Durations of phases.",
			Buckets: []float64{.1, .3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600}}, []string{"phase"}),
	}
	m.registry.MustRegister(m, m.builds, m.phases, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDeliveries, descUnknown, descPending, descQueue, descRunning, descOldest, descLag, descUnsaid, descReports,
		descRequests, descWrites, descUnchanged, descHeldBack, descLimited, descSingle, descRemaining, descFree, descReserve} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	_ = m.store.View(func(tx *store.Tx) error {
		queued, running := tx.QueueLength()
		gauge(descQueue, float64(queued))
		gauge(descRunning, float64(running))
		oldest := 0.0
		if list, err := tx.QueuedBuilds(1); err == nil && len(list) > 0 {
			oldest = m.store.Now().Sub(list[0].Created).Seconds()
		}
		gauge(descOldest, oldest)
		pending, unsaid := tx.Backlog()
		gauge(descPending, float64(pending))
		gauge(descUnsaid, float64(unsaid))
		return nil
	})
	counter(descDeliveries, m.intake.Accepted.Load(), "accepted")
	counter(descDeliveries, m.intake.Duplicates.Load(), "duplicate")
	counter(descDeliveries, m.intake.Unsigned.Load(), "unsigned")
	counter(descDeliveries, m.intake.Refused.Load(), "refused")
	counter(descDeliveries, m.intake.Greetings.Load(), "greeting")
	counter(descUnknown, m.intake.Unknown.Load())
	counter(descDeliveries, m.intake.Fetched.Load(), "fetched")
	gauge(descLag, m.reporter.Lag().Seconds())
	counter(descReports, m.reporter.Told.Load(), "acknowledged")
	counter(descReports, m.reporter.Failures.Load(), "failed")
	counter(descHeldBack, m.reporter.HeldBack.Load(), "ours")
	gauge(descSingle, float64(len(m.reporter.Single())))
	for _, f := range m.members() {
		t, forge := f.traffic(), f.name()
		counter(descWrites, t.Writes, forge)
		counter(descUnchanged, t.Unchanged, forge)
		counter(descHeldBack, t.HeldBack, forge)
		counter(descRequests, t.Requests-t.Failures, forge, "success")
		counter(descRequests, t.Failures, forge, "failure")
		for installation, until := range t.Limited {
			gauge(descLimited, max(0, until.Sub(m.store.Now()).Seconds()), forge, strconv.FormatInt(installation, 10))
		}
		for installation, left := range t.Remaining {
			gauge(descRemaining, float64(left), forge, strconv.FormatInt(installation, 10))
		}
	}
	if disk, err := m.store.Disk(); err == nil {
		gauge(descFree, float64(disk.Free))
		gauge(descReserve, float64(disk.Reserve))
	}
}

// observe counts the builds that have ended since the last look.
func (m *metrics) observe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ended []store.Build
	_ = m.store.View(func(tx *store.Tx) error {
		var ids []string
		ids, m.last = tx.IDsSince(m.last)
		for _, id := range ids {
			m.under[id] = true
		}
		for id := range m.under {
			b, err := tx.Build(id)
			if err == nil && !b.Done() {
				continue
			}
			delete(m.under, id)
			if err == nil && !b.Ended.Before(m.begun) {
				ended = append(ended, b)
			}
		}
		return nil
	})
	for _, b := range ended {
		m.builds.WithLabelValues(string(b.Status)).Inc()
		for _, p := range b.Phases {
			if !p.End.IsZero() {
				m.phases.WithLabelValues(p.Type).Observe(max(0, p.End.Sub(p.Start).Seconds()))
			}
		}
	}
}

// run counts until ctx is done.
func (m *metrics) run(ctx context.Context) error {
	news, stop := m.store.Watch()
	defer stop()
	for {
		m.observe()
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
}
