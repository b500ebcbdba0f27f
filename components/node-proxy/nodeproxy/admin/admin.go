// Package admin serves what operators and the kubelet ask the proxy: readiness, metrics, and on the loopback address the dump of the
// configuration, the level of the log, and the end.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Addresses of the three servers.
const (
	ReadinessAddress = ":15021"
	MetricsAddress   = ":15020"
	LocalAddress     = "127.0.0.1:15000"
)

// Bounds of what anybody in the cluster may ask. The time is longer than that of a profile; a variable for tests.
var writeTimeout = time.Minute

const (
	largestHeader = 8 << 10
	scrapes       = 4
)

// Readiness answers 200 when nothing is pending, else 503 with what is.
func Readiness(pending func() []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz/ready", func(w http.ResponseWriter, _ *http.Request) {
		if waiting := pending(); len(waiting) > 0 {
			http.Error(w, "not ready, pending: "+strings.Join(waiting, ", "), http.StatusServiceUnavailable)
			return
		}
		write(w, "ready\n")
	})
	return mux
}

// Metrics serves a registry, under both names that Istio's ztunnel has.
func Metrics(registry prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})
	mux.Handle("GET /metrics", handler)
	mux.Handle("GET /stats/prometheus", handler)
	return mux
}

// Local is what only the proxy's own pod reaches.
type Local struct {
	// Dump returns the configuration, for JSON; the control plane knows it. Nil: there is none.
	Dump func() any
	// Level is that of the log.
	Level *slog.LevelVar
	// Quit ends the proxy in order.
	Quit func()
}

// Handler serves it.
func (l *Local) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config_dump", func(w http.ResponseWriter, _ *http.Request) {
		if l.Dump == nil {
			http.Error(w, "no configuration to dump", http.StatusNotImplemented)
			return
		}
		text, err := json.Marshal(l.Dump())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		write(w, string(text))
	})
	mux.HandleFunc("POST /logging", l.logging)
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		write(w, "shutting down now\n")
		l.Quit()
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	return mux
}

func (l *Local) logging(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("level")
	if text != "" {
		level, err := Level(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.Level.Set(level)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]string{"level": l.Level.Level().String()}); err != nil {
		return // the reader is gone
	}
}

// Level reads a level of the log as ztunnel's chart gives it: one word, or targets of which the first word without one counts.
func Level(text string) (slog.Level, error) {
	for part := range strings.SplitSeq(text, ",") {
		switch strings.ToLower(strings.TrimSpace(part)) {
		case "trace", "debug":
			return slog.LevelDebug, nil
		case "info":
			return slog.LevelInfo, nil
		case "warn", "warning":
			return slog.LevelWarn, nil
		case "error", "off":
			return slog.LevelError, nil
		}
	}
	return 0, fmt.Errorf("log level %q: write debug, info, warn or error", text)
}

func write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		return // the reader is gone
	}
}

// Serve serves until the context ends.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout: writeTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: largestHeader}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // what is being answered is not worth a wait
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
