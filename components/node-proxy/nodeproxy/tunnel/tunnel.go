// Package tunnel carries connections over HBONE: HTTP/2 CONNECT with mutual TLS, one stream for each connection. HTTP/2 is that of
// net/http; nothing outside of this package knows that, so that another implementation can take its place.
package tunnel

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// Stream is one tunnelled connection; it is an End of package copying.
type Stream interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	CloseWrite() error
	Close() error
	Abort()
}

// Request is what a peer asks for, after its certificate was verified.
type Request struct {
	Source, Local netip.AddrPort // of the TCP connection
	Authority     string
	TLS           tls.ConnectionState
}

// Answer refuses with a status, or accepts with http.StatusOK and serves the stream.
type Answer struct {
	Status int
	Serve  func(Stream)
}

// StatusError is a peer's refusal.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	switch e.Status {
	case http.StatusUnauthorized:
		return "the peer's policies refused the connection (401)"
	case http.StatusServiceUnavailable:
		return "the peer could not reach its application (503)"
	}
	return fmt.Sprintf("the peer refused the tunnel (%d)", e.Status)
}

// ErrClosed says that the pool or server was closed.
var ErrClosed = errors.New("the tunnel is closed")

// Measured values. The window of a connection is far above that of a stream, so that streams whose readers rest do not stall the
// others; the frame is the smallest, because each peer keeps a buffer of that size for each open stream.
const (
	streamWindow     = 256 << 10
	connectionWindow = 16 << 20
	frameSize        = 16 << 10
	streams          = 100 // on one connection; then another one is opened
	handshakeTimeout = 10 * time.Second
	pingAfter        = 60 * time.Second
	pingTimeout      = 20 * time.Second
	idleTimeout      = 5 * time.Minute
	largestHeader    = 16 << 10
)

func protocols() *http.Protocols {
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	return protocols
}

func settings() *http.HTTP2Config {
	return &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow,
		MaxReadFrameSize: frameSize, MaxConcurrentStreams: 2 * streams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
}
