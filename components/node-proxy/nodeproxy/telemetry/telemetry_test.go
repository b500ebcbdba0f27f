package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"bookstore.platform/istio/nodeproxy/mesh"
)

func record() Record {
	return Record{Direction: "inbound", Pod: mesh.Pod{Name: "p", Namespace: "shop"}, Source: "10.0.0.1:1", Destination: "10.0.0.2:80",
		SourceIdentity: "cluster.local/ns/a/sa/b", Tunnel: true, Began: time.Now(),
		Labels: mesh.Labels{"source_workload": "web", "not_a_label": "x"}}
}

// counted is a connection that moves what a test says.
type counted struct{ sent, received atomic.Uint64 }

func (c *counted) Sent() uint64     { return c.sent.Load() }
func (c *counted) Received() uint64 { return c.received.Load() }

// scrape returns the sums of both counters of bytes, over all of their series.
func scrape(t *testing.T, registry *prometheus.Registry) (received, sent float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			sums[family.GetName()] += metric.GetCounter().GetValue()
		}
	}
	return sums["istio_tcp_received_bytes_total"], sums["istio_tcp_sent_bytes_total"]
}

// A connection that stays open shows its bytes at each scrape, and each of them once.
func TestBytesOfOpenConnections(t *testing.T) {
	registry := prometheus.NewRegistry()
	reporter := New(registry)
	moved := &counted{}
	open := reporter.Opened(record(), moved)
	expect := func(what string, wantReceived, wantSent float64) {
		t.Helper()
		if received, sent := scrape(t, registry); received != wantReceived || sent != wantSent {
			t.Errorf("%s: %v bytes received and %v sent, want %v and %v", what, received, sent, wantReceived, wantSent)
		}
	}
	expect("nothing moved", 0, 0)
	moved.sent.Store(100)
	moved.received.Store(7)
	expect("open", 100, 7)
	expect("scraped again", 100, 7)
	moved.sent.Store(150)
	expect("more in one direction", 150, 7)
	moved.received.Store(1007)
	open.Closed(nil)
	expect("closed", 150, 1007)
	if len(reporter.open) != 0 {
		t.Errorf("%d connections are kept after their end", len(reporter.open))
	}
}

// Scrapes beside connections that move bytes and end: no byte is lost, none counted twice, no counter falls.
func TestScrapesBesideTraffic(t *testing.T) {
	registry := prometheus.NewRegistry()
	reporter := New(registry)
	const connections, each = 200, 500
	var traffic, scrapes sync.WaitGroup
	for range connections {
		traffic.Go(func() {
			moved := &counted{}
			open := reporter.Opened(record(), moved)
			for range each {
				moved.sent.Add(3)
				moved.received.Add(5)
			}
			open.Closed(nil)
		})
	}
	over := make(chan struct{})
	for range 4 {
		scrapes.Go(func() {
			var lastReceived, lastSent float64
			for {
				received, sent := scrape(t, registry)
				if received < lastReceived || sent < lastSent {
					t.Errorf("a counter fell: from %v and %v to %v and %v", lastReceived, lastSent, received, sent)
				}
				lastReceived, lastSent = received, sent
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	traffic.Wait()
	close(over)
	scrapes.Wait()
	if received, sent := scrape(t, registry); received != 3*connections*each || sent != 5*connections*each {
		t.Errorf("%v bytes received and %v sent, want %v and %v", received, sent, 3*connections*each, 5*connections*each)
	}
}

func TestMetricsAndLines(t *testing.T) {
	registry := prometheus.NewRegistry()
	reporter := New(registry)
	moved := &counted{}
	open := reporter.Opened(record(), moved)
	moved.sent.Store(10)
	moved.received.Store(20)
	open.Closed(errors.New("connection reset"))
	reporter.Refused(record(), "policy: strict")
	reporter.Refused(record(), "policy: strict (401)")
	reporter.Refused(record(), "connection refused")
	var lines bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	reporter.Run(ctx, slog.New(slog.NewTextHandler(&lines, nil)))
	for _, part := range []string{`msg="connection complete"`, "bytes_sent=20", "bytes_recv=10", `error="connection reset"`, "src.addr=10.0.0.1:1",
		"src.identity=spiffe://cluster.local/ns/a/sa/b", `msg="connection failed"`, `error="policy: strict"`} {
		if !strings.Contains(lines.String(), part) {
			t.Errorf("%q is not in %s", part, lines.String())
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]*dto.Metric{}
	for _, family := range families {
		values[family.GetName()] = family.GetMetric()[0]
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "cause" {
					values["refused by "+label.GetValue()] = metric
				}
			}
		}
	}
	if refused, failed := values["refused by policy"].GetCounter().GetValue(), values["refused by other"].GetCounter().GetValue(); refused != 2 || failed != 1 {
		t.Errorf("%v connections are counted as refused by a policy, want 2; %v otherwise, want 1", refused, failed)
	}
	for name, want := range map[string]float64{"istio_tcp_connections_opened_total": 1, "istio_tcp_connections_closed_total": 1,
		"istio_tcp_received_bytes_total": 10, "istio_tcp_sent_bytes_total": 20} {
		metric := values[name]
		if metric.GetCounter().GetValue() != want {
			t.Errorf("%s is %v, want %v", name, metric.GetCounter().GetValue(), want)
		}
		got := map[string]string{}
		for _, label := range metric.GetLabel() {
			got[label.GetName()] = label.GetValue()
		}
		for label, want := range map[string]string{"reporter": "destination", "source_workload": "web", "connection_security_policy": "mutual_tls",
			"source_principal": "spiffe://cluster.local/ns/a/sa/b", "destination_workload": "unknown", "request_protocol": "tcp"} {
			if got[label] != want {
				t.Errorf("%s: %s=%q, want %q", name, label, got[label], want)
			}
		}
	}
}

// Nobody reads the log: connections go on, and what is lost is counted.
func TestFullLogStallsNobody(t *testing.T) {
	registry := prometheus.NewRegistry()
	reporter := New(registry)
	for range queue + 5 {
		reporter.Refused(record(), "x")
	}
	var metric dto.Metric
	if err := reporter.dropped.Write(&metric); err != nil {
		t.Fatal(err)
	}
	if metric.GetCounter().GetValue() != 5 {
		t.Errorf("%v lines are counted as dropped, want 5", metric.GetCounter().GetValue())
	}
}

// A plaintext connection proves nothing of its source: the identity of the pod with its address is not told as if it had.
func TestPrincipalsAreProven(t *testing.T) {
	registry := prometheus.NewRegistry()
	plaintext := record()
	plaintext.SourceIdentity, plaintext.Tunnel = "", false
	plaintext.Labels = mesh.Labels{"source_workload": "web", "source_principal": "spiffe://cluster.local/ns/a/sa/web",
		"destination_principal": "spiffe://cluster.local/ns/a/sa/db"}
	New(registry).Opened(plaintext, &counted{})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if strings.HasSuffix(label.GetName(), "_principal") && label.GetValue() != "unknown" {
					t.Errorf("%s: %s=%q", family.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
}
