package tunnel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/tunnel"
)

// Types and flags of HTTP/2 frames.
const (
	headersFrame, resetFrame, settingsFrame, pingFrame, continuationFrame = 1, 3, 4, 6, 9
	endHeaders                                                            = 4
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	out := append([]byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(out[5:], stream)
	return append(out, payload...)
}

// field is a literal header that is not indexed.
func field(name, value string) []byte {
	out := append([]byte{0, byte(len(name))}, name...)
	return append(append(out, byte(len(value))), value...)
}

// rough is a peer with a good certificate that speaks HTTP/2 by hand.
func rough(t *testing.T, e *ends) *tls.Conn {
	t.Helper()
	config, err := e.identities.ClientConfig(context.Background(), client, []string{server})
	if err != nil {
		t.Fatal(err)
	}
	connection, err := tls.Dial("tcp4", e.gateway.String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(settingsFrame, 0, 0, nil)...)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// served tells that others are: the flood is over for them, or never was.
func served(t *testing.T, e *ends) {
	t.Helper()
	stream := e.must("10.0.0.1:1")
	_, _ = io.WriteString(stream, "still served")
	_ = stream.CloseWrite()
	if got := bounded(t, "reading", all(stream)); got.text != "still served" || got.err != nil {
		t.Error(got)
	}
}

// Streams that are opened and reset at once do not run more handlers than a connection may have streams.
func TestStreamsThatAreResetAtOnce(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan struct{})
	e := start(t, func(r tunnel.Request) tunnel.Answer {
		if r.Authority == "10.0.0.1:2" {
			most.Store(max(most.Load(), running.Add(1))) // near enough: it only grows until the release
			<-release
			running.Add(-1)
			return tunnel.Answer{Status: http.StatusServiceUnavailable}
		}
		return tunnel.Answer{Status: http.StatusOK, Serve: func(s tunnel.Stream) { _, _ = io.Copy(s, s); _ = s.Close() }}
	})
	connection := rough(t, e)
	go func() { _, _ = io.Copy(io.Discard, connection) }()
	block := append(field(":method", "CONNECT"), field(":authority", "10.0.0.1:2")...)
	opened := 0
	for ; opened < 5000; opened++ {
		stream := uint32(2*opened + 1)
		flood := append(frame(headersFrame, endHeaders, stream, block), frame(resetFrame, 0, stream, []byte{0, 0, 0, 8})...)
		if _, err := connection.Write(flood); err != nil {
			break // the server has had enough
		}
	}
	served(t, e)
	if got := most.Load(); got == 0 || got > 200 {
		t.Errorf("%d handlers at once after %d streams", got, opened)
	}
	close(release)
}

// Headers without an end, and answers that queue because nobody reads them, end the connection and only that. (Settings do not queue: their
// answers are joined.)
func TestFloodsOfOneConnection(t *testing.T) {
	header := bytes.Repeat(field("x", string(bytes.Repeat([]byte("y"), 100))), 100)
	for name, test := range map[string]struct{ first, again []byte }{
		"headers without an end":  {frame(headersFrame, 0, 1, header), frame(continuationFrame, 0, 1, header)},
		"pings, answers not read": {nil, bytes.Repeat(frame(pingFrame, 0, 0, make([]byte, 8)), 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, accepting(func(_ tunnel.Request, s tunnel.Stream) { _, _ = io.Copy(s, s); _ = s.Close() }))
			connection := rough(t, e)
			_, err := connection.Write(test.first)
			written := len(test.first)
			for err == nil && written < 128<<20 {
				_, err = connection.Write(test.again)
				written += len(test.again)
			}
			if err == nil {
				t.Errorf("%d MiB were taken", written>>20)
			}
			served(t, e)
		})
	}
}
