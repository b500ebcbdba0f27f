package tunnel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

const (
	client = "spiffe://cluster.local/ns/a/sa/client"
	server = "spiffe://cluster.local/ns/a/sa/server"
	wait   = 20 * time.Second
)

type ends struct {
	t          *testing.T
	identities *meshtest.Identities
	server     *tunnel.Server
	pool       *tunnel.Pool
	listener   net.Listener
	gateway    netip.AddrPort
	mutex      sync.Mutex
	dials      int
}

// start serves tunnels; serve gets each accepted stream with its authority.
func start(t *testing.T, connect func(tunnel.Request) tunnel.Answer) *ends {
	t.Helper()
	e := &ends{t: t, identities: meshtest.NewIdentities(t), pool: tunnel.NewPool()}
	e.server = &tunnel.Server{
		Config:  func(ctx context.Context) (*tls.Config, error) { return e.identities.ServerConfig(ctx, server) },
		Connect: func(_ context.Context, request tunnel.Request) tunnel.Answer { return connect(request) },
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.listener, e.gateway = listener, netip.MustParseAddrPort(listener.Addr().String())
	done := make(chan error, 1)
	go func() { done <- e.server.Serve(listener) }()
	t.Cleanup(func() {
		e.pool.Close()
		_ = e.server.Close()
		<-done
	})
	return e
}

func (e *ends) open(authority, identity string, accepted ...string) (tunnel.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	stream, _, err := e.pool.Open(ctx, tunnel.Destination{
		Key: tunnel.Key{Pod: "p", Identity: identity, Gateway: e.gateway}, Accepted: accepted, Authority: netip.MustParseAddrPort(authority),
		Dial: func(ctx context.Context) (net.Conn, error) {
			e.mutex.Lock()
			e.dials++
			e.mutex.Unlock()
			return (&net.Dialer{}).DialContext(ctx, "tcp4", e.gateway.String())
		},
		TLS: func(ctx context.Context) (*tls.Config, error) {
			return e.identities.ClientConfig(ctx, identity, accepted)
		},
	})
	return stream, err
}

func (e *ends) must(authority string) tunnel.Stream {
	e.t.Helper()
	stream, err := e.open(authority, client, server)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(stream.Abort)
	return stream
}

func accepting(serve func(tunnel.Request, tunnel.Stream)) func(tunnel.Request) tunnel.Answer {
	return func(r tunnel.Request) tunnel.Answer {
		return tunnel.Answer{Status: http.StatusOK, Serve: func(s tunnel.Stream) { serve(r, s) }}
	}
}

func bounded[T any](t *testing.T, what string, do func() T) T {
	t.Helper()
	result := make(chan T, 1)
	go func() { result <- do() }()
	select {
	case r := <-result:
		return r
	case <-time.After(wait):
		t.Fatalf("%s takes too long", what)
		panic("not reached")
	}
}

type read struct {
	text string
	err  error
}

func all(stream io.Reader) func() read {
	return func() read {
		text, err := io.ReadAll(stream)
		return read{string(text), err}
	}
}

func TestEndsOfAStream(t *testing.T) {
	served := make(chan read, 1)
	e := start(t, accepting(func(r tunnel.Request, s tunnel.Stream) {
		switch r.Authority {
		case "10.0.0.1:1": // the client ends first
			got := all(s)()
			_, _ = io.WriteString(s, "answer")
			_ = s.Close()
			served <- got
		case "10.0.0.1:2": // the server ends first
			_, _ = io.WriteString(s, "banner")
			_ = s.CloseWrite()
			served <- all(s)()
		case "10.0.0.1:3": // the server aborts
			_, _ = io.WriteString(s, "half")
			s.Abort()
			served <- read{}
		default: // until the client aborts
			served <- all(s)()
			s.Abort()
		}
	}))
	t.Run("client ends first", func(t *testing.T) {
		s := e.must("10.0.0.1:1")
		_, _ = io.WriteString(s, "question")
		_ = s.CloseWrite()
		if got := bounded(t, "reading", all(s)); got.text != "answer" || got.err != nil {
			t.Error(got)
		}
		if got := <-served; got.text != "question" || got.err != nil {
			t.Error(got)
		}
	})
	t.Run("server ends first", func(t *testing.T) {
		s := e.must("10.0.0.1:2")
		if got := bounded(t, "reading", all(s)); got.text != "banner" || got.err != nil {
			t.Error(got)
		}
		// Known limit of net/http: the other direction is over as well, and that is no error.
		if got := bounded(t, "the server's reading", func() read { return <-served }); got.err != nil {
			t.Error(got)
		}
	})
	t.Run("server aborts", func(t *testing.T) {
		s := e.must("10.0.0.1:3")
		if got := bounded(t, "reading", all(s)); got.err == nil {
			t.Errorf("an aborted stream ended as if whole: %q", got.text)
		}
		<-served
	})
	t.Run("client aborts", func(t *testing.T) {
		s := e.must("10.0.0.1:4")
		_, _ = io.WriteString(s, "half")
		s.Abort()
		if got := bounded(t, "the server's reading", func() read { return <-served }); got.err == nil {
			t.Errorf("an aborted stream ended as if whole: %q", got.text)
		}
	})
	if e.dials != 1 {
		t.Errorf("%d connections where one is enough", e.dials)
	}
}

// Twenty streams whose readers rest hold their windows, and the one beside them runs.
func TestStalledReadersBesideALiveOne(t *testing.T) {
	release := make(chan struct{})
	e := start(t, accepting(func(r tunnel.Request, s tunnel.Stream) {
		if r.Authority == "10.0.0.1:1" {
			<-release
			s.Abort()
			return
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
	}))
	defer close(release)
	var stalled sync.WaitGroup
	for range 20 {
		s := e.must("10.0.0.1:1")
		stalled.Go(func() {
			chunk := make([]byte, 64<<10)
			for {
				if _, err := s.Write(chunk); err != nil {
					return
				}
			}
		})
	}
	live := e.must("10.0.0.1:2")
	data := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB
	go func() {
		_, _ = live.Write(data)
		_ = live.CloseWrite()
	}()
	if got := bounded(t, "the live stream", all(live)); got.err != nil || got.text != string(data) {
		t.Errorf("got %d bytes, %v", len(got.text), got.err)
	}
	if e.dials != 1 {
		t.Errorf("%d connections: the streams do not share one", e.dials)
	}
	e.pool.Close()
	bounded(t, "the end of the stalled ones", func() bool { stalled.Wait(); return true })
}

func TestRefusals(t *testing.T) {
	e := start(t, func(r tunnel.Request) tunnel.Answer {
		return tunnel.Answer{Status: map[string]int{"10.0.0.1:401": 401, "10.0.0.1:503": 503, "10.0.0.1:400": 400}[r.Authority]}
	})
	for authority, status := range map[string]int{"10.0.0.1:401": 401, "10.0.0.1:503": 503, "10.0.0.1:400": 400, "10.0.0.1:1": 400} {
		var refused *tunnel.StatusError
		if _, err := e.open(authority, client, server); !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%s: %v", authority, err)
		}
	}
	if e.dials != 1 {
		t.Errorf("%d connections: a refusal is no broken connection", e.dials)
	}
	if _, err := e.open("10.0.0.1:1", client); err == nil {
		t.Error("a peer that need not prove an identity was called")
	}
}

func TestOnlyConnectIsServed(t *testing.T) {
	e := start(t, accepting(func(tunnel.Request, tunnel.Stream) { t.Error("served") }))
	config, err := e.identities.ClientConfig(context.Background(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequest(method, "https://"+e.gateway.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, response.StatusCode)
		}
		_ = response.Body.Close()
	}
}

// Different identities never share a connection, nor do different sets of accepted ones.
func TestWhoSharesAConnection(t *testing.T) {
	e := start(t, accepting(func(_ tunnel.Request, s tunnel.Stream) { _, _ = io.Copy(io.Discard, s); _ = s.Close() }))
	for range 3 {
		e.must("10.0.0.1:1")
	}
	if e.dials != 1 {
		t.Errorf("%d connections for one key", e.dials)
	}
	other := "spiffe://cluster.local/ns/a/sa/other"
	for _, o := range []struct{ identity, accepted string }{{other, server}, {client, server + "2"}} {
		_, err := e.open("10.0.0.1:1", o.identity, server, o.accepted)
		if err != nil {
			t.Fatal(err)
		}
	}
	if e.dials != 3 {
		t.Errorf("%d connections for three keys", e.dials)
	}
	e.pool.Retire(func(key tunnel.Key) bool { return key.Identity == client })
	e.must("10.0.0.1:1")
	if e.dials != 4 {
		t.Error("a retired connection was used")
	}
}

func TestManyStreamsOpenFurtherConnections(t *testing.T) {
	e := start(t, accepting(func(_ tunnel.Request, s tunnel.Stream) { _, _ = io.Copy(s, s); _ = s.Close() }))
	var group sync.WaitGroup
	streams := make(chan tunnel.Stream, 250)
	for range cap(streams) {
		group.Go(func() {
			stream, err := e.open("10.0.0.1:1", client, server)
			if err != nil {
				t.Error(err)
				return
			}
			streams <- stream
		})
	}
	group.Wait()
	if e.dials != 3 {
		t.Errorf("%d connections for 250 streams", e.dials)
	}
	close(streams)
	for stream := range streams {
		_ = stream.CloseWrite()
		if got := all(stream)(); got.err != nil {
			t.Error(got.err)
		}
		_ = stream.Close()
	}
}

// After GOAWAY what is open goes on, and what is new opens another connection.
func TestDrain(t *testing.T) {
	e := start(t, accepting(func(_ tunnel.Request, s tunnel.Stream) { _, _ = io.Copy(s, s); _ = s.Close() }))
	stream := e.must("10.0.0.1:1")
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	go func() { drained <- e.server.Drain(ctx) }()
	deadline := time.Now().Add(wait)
	for { // until the listener is closed
		_, err := e.open("10.0.0.1:1", client, server)
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("new streams are still accepted")
		}
	}
	if _, err := io.WriteString(stream, "still open"); err != nil {
		t.Error(err)
	}
	_ = stream.CloseWrite()
	if got := bounded(t, "reading", all(stream)); got.text != "still open" || got.err != nil {
		t.Error(got)
	}
}

func TestWrongPeerIsNotPooled(t *testing.T) {
	e := start(t, accepting(func(tunnel.Request, tunnel.Stream) { t.Error("served") }))
	if _, err := e.open("10.0.0.1:1", client, server+"2"); err == nil {
		t.Error("a peer with another identity was accepted")
	}
	e.identities.NoClientCertificate()
	if _, err := e.open("10.0.0.1:1", client, server); err == nil {
		t.Error("a client without a certificate was served")
	}
	if e.pool.Size() != 0 {
		t.Errorf("%d connections are pooled", e.pool.Size())
	}
}
