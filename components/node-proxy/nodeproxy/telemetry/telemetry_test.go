package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
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

func TestMetricsAndLines(t *testing.T) {
	registry := prometheus.NewRegistry()
	reporter := New(registry)
	open := reporter.Opened(record())
	open.Closed(10, 20, errors.New("connection reset"))
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
	New(registry).Opened(plaintext)
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
