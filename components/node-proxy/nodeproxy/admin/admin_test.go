package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func ask(t *testing.T, handler http.Handler, method, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, string(body)
}

func TestReadiness(t *testing.T) {
	var pending []string
	handler := Readiness(func() []string { return pending })
	if code, _ := ask(t, handler, "GET", "/healthz/ready"); code != http.StatusOK {
		t.Error(code)
	}
	pending = []string{"pod a/b", "the mesh"}
	if code, body := ask(t, handler, "GET", "/healthz/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "pod a/b, the mesh") {
		t.Error(code, body)
	}
}

func TestMetricsHaveBothPaths(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "some_total", Help: "Some."})
	registry.MustRegister(counter)
	for _, path := range []string{"/metrics", "/stats/prometheus"} {
		if code, body := ask(t, Metrics(registry), "GET", path); code != http.StatusOK || !strings.Contains(body, "some_total 0") {
			t.Error(path, code, body)
		}
	}
}

func TestLocal(t *testing.T) {
	level, quits := &slog.LevelVar{}, 0
	local := &Local{Level: level, Quit: func() { quits++ }}
	handler := local.Handler()
	if code, _ := ask(t, handler, "GET", "/config_dump"); code != http.StatusNotImplemented {
		t.Error(code)
	}
	if code, body := ask(t, handler, "POST", "/logging?level=debug"); code != http.StatusOK || level.Level() != slog.LevelDebug {
		t.Error(code, body, level)
	}
	if code, _ := ask(t, handler, "POST", "/logging?level=loud"); code != http.StatusBadRequest || level.Level() != slog.LevelDebug {
		t.Error(code, level)
	}
	if code, _ := ask(t, handler, "GET", "/quitquitquit"); code != http.StatusMethodNotAllowed || quits != 0 {
		t.Error(code, quits)
	}
	if code, _ := ask(t, handler, "POST", "/quitquitquit"); code != http.StatusOK || quits != 1 {
		t.Error(code, quits)
	}
	local.Dump = func() any { return map[string]int{} }
	if code, body := ask(t, local.Handler(), "GET", "/config_dump"); code != http.StatusOK || body != "{}" {
		t.Error(code, body)
	}
}

// Anybody in the cluster may ask and then not read: the answer ends all the same.
func TestReaderThatDoesNotRead(t *testing.T) {
	writeTimeout = 200 * time.Millisecond
	t.Cleanup(func() { writeTimeout = time.Minute })
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for {
			if _, err := w.Write(block); err != nil {
				ended <- err
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, handler) }()
	connection, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the answer goes on for a reader that does not read")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
