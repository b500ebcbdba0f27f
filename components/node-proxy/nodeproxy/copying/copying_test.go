package copying

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	for _, connection := range []*net.TCPConn{dialled, accepted} {
		if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
	}
	return dialled, accepted
}

// hidden is a TCP end that is copied as a stream of a tunnel is.
type hidden struct{ tcp TCP }

func (h hidden) Read(b []byte) (int, error)  { return h.tcp.Read(b) }
func (h hidden) Write(b []byte) (int, error) { return h.tcp.TCPConn.Write(b) }
func (h hidden) CloseWrite() error           { return h.tcp.CloseWrite() }
func (h hidden) Close() error                { return h.tcp.Close() }
func (h hidden) Abort()                      { h.tcp.Abort() }

type setup struct {
	client, server *net.TCPConn
	connection     *Connection
	result         chan error
}

var kinds = map[string]func(*net.TCPConn) End{
	"tcp":    func(c *net.TCPConn) End { return TCP{c} },
	"stream": func(c *net.TCPConn) End { return hidden{TCP{c}} },
}

func start(t *testing.T, kind string, limits Limits) *setup {
	t.Helper()
	client, inner := pair(t)
	outer, server := pair(t)
	for _, connection := range []*net.TCPConn{inner, outer} {
		if err := connection.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	s := &setup{client: client, server: server, connection: New(TCP{inner}, kinds[kind](outer), limits), result: make(chan error, 1)}
	go func() { s.result <- s.connection.Run() }()
	return s
}

func (s *setup) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.result:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not return")
		return nil
	}
}

func write(t *testing.T, c *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c *net.TCPConn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

func expectEnd(t *testing.T, c *net.TCPConn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}

func TestOrdersOfCloseAndAbort(t *testing.T) {
	for kind := range kinds {
		for name, test := range map[string]struct {
			do     func(t *testing.T, s *setup)
			broken bool
		}{
			"client closes first, server answers later": {func(t *testing.T, s *setup) {
				write(t, s.client, "question")
				_ = s.client.CloseWrite()
				expect(t, s.server, "question")
				expectEnd(t, s.server, io.EOF)
				write(t, s.server, "answer")
				_ = s.server.Close()
				expect(t, s.client, "answer")
				expectEnd(t, s.client, io.EOF)
			}, false},
			"server closes first, client sends on": {func(t *testing.T, s *setup) {
				write(t, s.server, "banner")
				_ = s.server.CloseWrite()
				expect(t, s.client, "banner")
				expectEnd(t, s.client, io.EOF)
				write(t, s.client, "late")
				_ = s.client.Close()
				expect(t, s.server, "late")
				expectEnd(t, s.server, io.EOF)
			}, false},
			"client aborts": {func(t *testing.T, s *setup) {
				write(t, s.client, "x")
				expect(t, s.server, "x")
				TCP{s.client}.Abort()
				expectEnd(t, s.server, syscall.ECONNRESET)
			}, true},
			"server aborts": {func(t *testing.T, s *setup) {
				write(t, s.server, "x")
				expect(t, s.client, "x")
				TCP{s.server}.Abort()
				expectEnd(t, s.client, syscall.ECONNRESET)
			}, true},
			"client closes, then server aborts": {func(t *testing.T, s *setup) {
				_ = s.client.CloseWrite()
				expectEnd(t, s.server, io.EOF)
				TCP{s.server}.Abort()
				expectEnd(t, s.client, syscall.ECONNRESET)
			}, true},
			"server closes, then client aborts": {func(t *testing.T, s *setup) {
				_ = s.server.CloseWrite()
				expectEnd(t, s.client, io.EOF)
				TCP{s.client}.Abort()
				expectEnd(t, s.server, syscall.ECONNRESET)
			}, true},
			"the proxy cuts": {func(t *testing.T, s *setup) {
				write(t, s.client, "x")
				expect(t, s.server, "x")
				s.connection.Cut(ErrClosed)
				expectEnd(t, s.client, syscall.ECONNRESET)
				expectEnd(t, s.server, syscall.ECONNRESET)
			}, true},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				s := start(t, kind, DefaultLimits)
				test.do(t, s)
				if err := s.ended(t); (err != nil) != test.broken {
					t.Errorf("Run returned %v", err)
				}
			})
		}
	}
}

// A server that answers and closes while the client still sends: the answer arrives whole.
func TestAnswerBeforeTheRequestEnds(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := start(t, kind, DefaultLimits)
			write(t, s.client, "start")
			expect(t, s.server, "start")
			write(t, s.server, "413 too large")
			_ = s.server.Close()
			expect(t, s.client, "413 too large")
			expectEnd(t, s.client, io.EOF)
			for { // until the proxy has learned that nobody reads
				if _, err := s.client.Write(make([]byte, 64<<10)); err != nil {
					break
				}
			}
			_ = s.ended(t)
		})
	}
}

func TestAnyPatternOfWritesArrivesWhole(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := start(t, kind, DefaultLimits)
			data := make([]byte, 12<<20)
			if _, err := rand.Read(data); err != nil {
				t.Fatal(err)
			}
			send := func(c *net.TCPConn) {
				rest := data
				for i := 0; len(rest) > 0; i++ {
					n := min(len(rest), []int{1, 3000, 1 << 20, 32 << 10, 77}[i%5])
					if _, err := c.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			go send(s.client)
			go send(s.server)
			atClient := make(chan []byte, 1)
			go func() {
				got, _ := io.ReadAll(s.client)
				atClient <- got
			}()
			atServer, err := io.ReadAll(s.server)
			if err != nil || !bytes.Equal(atServer, data) {
				t.Errorf("server got %d bytes, %v", len(atServer), err)
			}
			if got := <-atClient; !bytes.Equal(got, data) {
				t.Errorf("client got %d bytes", len(got))
			}
			if err := s.ended(t); err != nil {
				t.Error(err)
			}
			if s.connection.Sent() != uint64(len(data)) || s.connection.Received() != uint64(len(data)) {
				t.Errorf("counted %d and %d", s.connection.Sent(), s.connection.Received())
			}
		})
	}
}

func TestIdleTimes(t *testing.T) {
	t.Run("both open", func(t *testing.T) {
		s := start(t, "tcp", Limits{Idle: 150 * time.Millisecond, HalfClosed: time.Hour})
		if err := s.ended(t); !errors.Is(err, ErrIdle) {
			t.Error(err)
		}
		expectEnd(t, s.client, syscall.ECONNRESET)
	})
	t.Run("half closed", func(t *testing.T) {
		s := start(t, "tcp", Limits{HalfClosed: 150 * time.Millisecond})
		_ = s.client.CloseWrite()
		expectEnd(t, s.server, io.EOF)
		if err := s.ended(t); !errors.Is(err, ErrIdle) {
			t.Error(err)
		}
	})
	t.Run("bytes keep it", func(t *testing.T) {
		s := start(t, "tcp", Limits{Idle: 400 * time.Millisecond, HalfClosed: time.Hour})
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for range 10 {
			<-ticker.C
			write(t, s.client, "x")
			expect(t, s.server, "x")
		}
		_ = s.client.Close()
		_ = s.server.Close()
		if err := s.ended(t); err != nil {
			t.Error(err)
		}
	})
}

// A reader that rests stalls the writer, and loses nothing.
func TestBackPressure(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := start(t, kind, DefaultLimits)
			total := 0
			chunk := make([]byte, 256<<10)
			for { // until the writer is stalled
				_ = s.client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				n, err := s.client.Write(chunk)
				total += n
				if err != nil {
					break
				}
				if total > 256<<20 {
					t.Fatal("the proxy takes without end what nobody reads")
				}
			}
			_ = s.client.SetWriteDeadline(time.Time{})
			_ = s.client.CloseWrite()
			got, err := io.Copy(io.Discard, s.server)
			if err != nil || int(got) != total {
				t.Errorf("got %d of %d, %v", got, total, err)
			}
		})
	}
}
