// Package telemetry tells of connections: Istio's standard metrics of TCP, and a line for each connection and each refusal.
package telemetry

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// labels of the standard metrics, by Istio's documentation.
var labels = []string{
	"reporter", "source_workload", "source_canonical_service", "source_canonical_revision", "source_workload_namespace",
	"source_principal", "source_app", "source_version", "source_cluster", "destination_service", "destination_service_namespace",
	"destination_service_name", "destination_workload", "destination_canonical_service", "destination_canonical_revision",
	"destination_workload_namespace", "destination_principal", "destination_app", "destination_version", "destination_cluster",
	"request_protocol", "response_flags", "connection_security_policy",
}

// refusedLabels of connections that were not let through, or could not be made; cause: policy or other.
var refusedLabels = []string{
	"reporter", "source_workload", "source_workload_namespace", "source_principal", "destination_workload",
	"destination_workload_namespace", "cause",
}

// principal writes an identity as Istio does in metrics and logs, whichever form it came in.
func principal(identity string) string {
	if identity == "" || strings.HasPrefix(identity, "spiffe://") {
		return identity
	}
	return "spiffe://" + identity
}

// Record describes one connection.
type Record struct {
	Direction   string // inbound or outbound
	Pod         mesh.Pod
	Source      string // address and port
	Destination string
	// SourceIdentity and DestinationIdentity are what certificates proved; empty in plaintext.
	SourceIdentity, DestinationIdentity string
	// Labels of both sides, by the names of the metrics.
	Labels mesh.Labels
	Tunnel bool
	// Began is when the connection was accepted.
	Began time.Time
}

// queue of lines that are not written yet; what does not fit is counted and dropped, so that a slow reader of the log never stalls a
// connection.
const queue = 4096

// Reporter counts and logs.
type Reporter struct {
	opened, closed, sent, received, refused *prometheus.CounterVec
	dropped                                 prometheus.Counter
	lines                                   chan func(*slog.Logger)
	refusals                                atomic.Uint64

	counting sync.Mutex // held by the scrape that counts the bytes of open connections; others wait for its result
	mutex    sync.Mutex
	open     map[*Open]struct{}
}

// New registers the metrics.
func New(registry prometheus.Registerer) *Reporter {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	r := &Reporter{
		opened:   counter("istio_tcp_connections_opened_total", "Connections opened."),
		closed:   counter("istio_tcp_connections_closed_total", "Connections closed."),
		sent:     counter("istio_tcp_sent_bytes_total", "Bytes sent in response, that is from destination to source."),
		received: counter("istio_tcp_received_bytes_total", "Bytes received in request, that is from source to destination."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "node_proxy_connections_refused_total",
			Help: "Connections that were not let through (cause: policy), or that could not be made (other)."}, refusedLabels),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "node_proxy_access_log_dropped_total",
			Help: "Lines of the access log that were dropped because its reader is too slow."}),
		lines: make(chan func(*slog.Logger), queue),
		open:  map[*Open]struct{}{},
	}
	registry.MustRegister(r.opened, r.closed, scraped{r}, r.refused, r.dropped)
	return r
}

// Run writes the lines until the context ends, and then what is queued.
func (r *Reporter) Run(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case line := <-r.lines:
			line(log)
		case <-ctx.Done():
			for {
				select {
				case line := <-r.lines:
					line(log)
				default:
					return
				}
			}
		}
	}
}

func (r *Reporter) line(write func(*slog.Logger)) {
	select {
	case r.lines <- write:
	default:
		r.dropped.Inc()
	}
}

func (rec *Record) values() prometheus.Labels {
	values := prometheus.Labels{}
	for _, name := range labels {
		values[name] = "unknown"
	}
	known := mesh.Labels{"reporter": map[string]string{"inbound": "destination", "outbound": "source"}[rec.Direction],
		"request_protocol": "tcp", "response_flags": "-", "connection_security_policy": "unknown"}
	if rec.Tunnel {
		known["connection_security_policy"] = "mutual_tls"
	}
	if rec.SourceIdentity != "" {
		known["source_principal"] = principal(rec.SourceIdentity)
	}
	if rec.DestinationIdentity != "" {
		known["destination_principal"] = principal(rec.DestinationIdentity)
	}
	for name, value := range merge(rec.Labels, known) {
		if strings.HasSuffix(name, "_principal") && known[name] == "" {
			continue // what an address would stand for is no proof of who called
		}
		if _, standard := values[name]; standard && value != "" {
			values[name] = value
		}
	}
	return values
}

func merge(first, second mesh.Labels) mesh.Labels {
	all := maps.Clone(first)
	if all == nil {
		all = mesh.Labels{}
	}
	maps.Copy(all, second)
	return all
}

// Bytes tells how many bytes of a connection have moved so far: Sent to the destination, Received from it. Neither ever falls.
type Bytes interface {
	Sent() uint64
	Received() uint64
}

// Open is an open connection of the metrics.
type Open struct {
	reporter               *Reporter
	record                 Record
	bytes                  Bytes
	closed, sent, received prometheus.Counter

	mutex                        sync.Mutex
	countedSent, countedReceived uint64
}

// Opened counts a connection that is let through. Its bytes are counted at each scrape, and the rest at its end.
func (r *Reporter) Opened(record Record, bytes Bytes) *Open {
	values := record.values()
	open := &Open{reporter: r, record: record, bytes: bytes, closed: r.closed.With(values), sent: r.sent.With(values),
		received: r.received.With(values)}
	r.opened.With(values).Inc()
	r.mutex.Lock()
	r.open[open] = struct{}{}
	r.mutex.Unlock()
	return open
}

// count adds what has moved since it was called last, and returns the totals.
func (o *Open) count() (sent, received uint64) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	sent, received = o.bytes.Sent(), o.bytes.Received()
	// Istio's names are those of the destination: it receives what the source has sent.
	if sent > o.countedSent {
		o.received.Add(float64(sent - o.countedSent))
		o.countedSent = sent
	}
	if received > o.countedReceived {
		o.sent.Add(float64(received - o.countedReceived))
		o.countedReceived = received
	}
	return sent, received
}

// scraped is the collector of both counters of bytes. Connections of pools are open for hours: what they moved is counted at each scrape.
type scraped struct{ *Reporter }

func (s scraped) Describe(descriptions chan<- *prometheus.Desc) {
	s.sent.Describe(descriptions)
	s.received.Describe(descriptions)
}

func (s scraped) Collect(metrics chan<- prometheus.Metric) {
	s.count()
	s.sent.Collect(metrics)
	s.received.Collect(metrics)
}

func (r *Reporter) count() {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.mutex.Lock()
	open := slices.Collect(maps.Keys(r.open)) // connections open and close while they are counted
	r.mutex.Unlock()
	for _, o := range open {
		o.count()
	}
}

// Closed counts its end and the bytes that are not counted yet, and writes its line. Nothing may move any more.
func (o *Open) Closed(err error) {
	r := o.reporter
	r.mutex.Lock()
	delete(r.open, o)
	r.mutex.Unlock()
	sent, received := o.count()
	o.closed.Inc()
	record, duration := o.record, time.Since(o.record.Began)
	r.line(func(log *slog.Logger) {
		attributes := append(record.attributes(), slog.Uint64("bytes_sent", received), slog.Uint64("bytes_recv", sent),
			slog.Duration("duration", duration))
		if err != nil {
			attributes = append(attributes, slog.String("error", err.Error()))
		}
		log.LogAttrs(context.Background(), slog.LevelInfo, "connection complete", attributes...)
	})
}

// Refused writes the line of a connection that was not let through, or that could not be made.
func (r *Reporter) Refused(record Record, reason string) {
	r.refusals.Add(1)
	values := record.values()
	counted := prometheus.Labels{"cause": "other"}
	if strings.HasPrefix(reason, "policy: ") {
		counted["cause"] = "policy"
	}
	for _, name := range refusedLabels {
		if value, standard := values[name]; standard {
			counted[name] = value
		}
	}
	r.refused.With(counted).Inc()
	duration := time.Since(record.Began)
	r.line(func(log *slog.Logger) {
		log.LogAttrs(context.Background(), slog.LevelWarn, "connection failed",
			append(record.attributes(), slog.Duration("duration", duration), slog.String("error", reason))...)
	})
}

// Refusals counts them, for tests and for the dump.
func (r *Reporter) Refusals() uint64 { return r.refusals.Load() }

func (rec *Record) attributes() []slog.Attr {
	attributes := []slog.Attr{
		slog.String("direction", rec.Direction), slog.String("pod", rec.Pod.Namespace+"/"+rec.Pod.Name),
		slog.String("src.addr", rec.Source), slog.String("dst.addr", rec.Destination), slog.Bool("tunnel", rec.Tunnel),
	}
	if rec.SourceIdentity != "" {
		attributes = append(attributes, slog.String("src.identity", principal(rec.SourceIdentity)))
	}
	if rec.DestinationIdentity != "" {
		attributes = append(attributes, slog.String("dst.identity", principal(rec.DestinationIdentity)))
	}
	return attributes
}
