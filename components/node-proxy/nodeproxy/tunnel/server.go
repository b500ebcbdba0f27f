package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Server accepts tunnels for one pod.
type Server struct {
	// Config returns the TLS settings for a handshake.
	Config func(ctx context.Context) (*tls.Config, error)
	// Connect judges a request; what it needs before the answer (a connection to the application) it does first.
	Connect func(ctx context.Context, request Request) Answer
	// Refused is told, if not nil, of a peer whose certificate was refused.
	Refused func(source netip.AddrPort, why error)
	Log     *slog.Logger

	once   sync.Once
	server *http.Server
}

func (s *Server) prepare() *http.Server {
	s.once.Do(func() {
		s.server = &http.Server{
			Protocols: protocols(), HTTP2: settings(), Handler: http.HandlerFunc(s.handle), ReadHeaderTimeout: handshakeTimeout,
			IdleTimeout: 2 * idleTimeout, MaxHeaderBytes: largestHeader, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
			TLSConfig: &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
				GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					config, err := s.Config(hello.Context())
					if err != nil {
						s.Log.Warn("no certificate for a handshake", "error", err)
						return nil, err
					}
					if config.ClientAuth < tls.RequireAnyClientCert || config.MinVersion < tls.VersionTLS13 {
						return nil, errors.New("TLS settings that do not ask the peer for a certificate")
					}
					return s.told(hello, config), nil
				},
			},
		}
	})
	return s.server
}

// told has a refusal of the peer's certificate reported: net/http tells it to nobody but its own log.
func (s *Server) told(hello *tls.ClientHelloInfo, config *tls.Config) *tls.Config {
	if s.Refused == nil || config.VerifyConnection == nil {
		return config
	}
	config, verify := config.Clone(), config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			source, parsed := netip.ParseAddrPort(hello.Conn.RemoteAddr().String())
			if parsed == nil {
				source = plain(source)
			}
			s.Refused(source, fmt.Errorf("the peer's certificate: %w", err))
		}
		return err
	}
	return config
}

// Serve accepts from a listener until it or the server is closed.
func (s *Server) Serve(listener net.Listener) error {
	err := s.prepare().ServeTLS(listener, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Drain stops accepting, asks peers for no more streams (GOAWAY), and waits for the open ones until the context ends.
func (s *Server) Drain(ctx context.Context) error { return s.prepare().Shutdown(ctx) }

// Close ends all tunnels at once.
func (s *Server) Close() error { return s.prepare().Close() }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	if !ok || err != nil || r.TLS == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	own, err := netip.ParseAddrPort(local.String())
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer := s.Connect(r.Context(), Request{Source: plain(source), Local: plain(own), Authority: r.Host, TLS: *r.TLS})
	if answer.Status != http.StatusOK || answer.Serve == nil {
		w.WriteHeader(max(answer.Status, http.StatusBadRequest))
		return
	}
	stream := &serverStream{writer: w, body: r.Body, control: http.NewResponseController(w), done: make(chan struct{})}
	w.WriteHeader(http.StatusOK)
	if err := stream.control.Flush(); err != nil {
		stream.Abort()
	}
	go func() {
		defer stream.Close() //nolint:errcheck // it returns none
		answer.Serve(stream)
	}()
	<-stream.done
	if stream.finish() {
		panic(http.ErrAbortHandler) // RST_STREAM, without a log line
	}
}

func plain(address netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
}

// serverStream ends when its handler returns. net/http cannot end the direction to the client and go on reading: CloseWrite is
// therefore the end of both directions, and what the client sends after it is lost.
type serverStream struct {
	writer  http.ResponseWriter
	body    io.Reader
	control *http.ResponseController
	closing sync.Once
	done    chan struct{}

	writing sync.Mutex // held by Write

	mutex    sync.Mutex
	ended    bool // by CloseWrite or Close
	aborted  bool
	returned bool // the handler uses nothing of net/http any more
}

func (s *serverStream) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.ended && !s.aborted {
			return n, io.EOF
		}
	}
	return n, err
}

func (s *serverStream) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mutex.Lock()
	over := s.ended || s.aborted || s.returned
	s.mutex.Unlock()
	if over {
		return 0, ErrClosed
	}
	n, err := s.writer.Write(b)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

func (s *serverStream) CloseWrite() error { return s.Close() }

func (s *serverStream) Close() error {
	s.mutex.Lock()
	s.ended = true
	s.mutex.Unlock()
	s.closing.Do(func() { close(s.done) })
	return nil
}

func (s *serverStream) Abort() {
	s.mutex.Lock()
	if !s.returned && !s.aborted {
		// A deadline that has passed resets the stream, also under a write that waits for the peer's window.
		_ = s.control.SetWriteDeadline(time.Unix(1, 0)) // the handler aborts in any case
	}
	s.aborted = true
	s.mutex.Unlock()
	s.closing.Do(func() { close(s.done) })
}

// finish waits for the last write, after which the handler may return, and tells whether the stream was aborted.
func (s *serverStream) finish() bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.returned = true
	return s.aborted
}
