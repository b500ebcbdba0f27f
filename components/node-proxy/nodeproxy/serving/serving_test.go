package serving

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bookstore.platform/istio/nodeproxy/telemetry"
)

// side is an end that gives its bytes at once, and keeps what is written.
type side struct {
	mutex   sync.Mutex
	gives   io.Reader
	got     bytes.Buffer
	aborted bool
}

func (s *side) Read(b []byte) (int, error) { return s.gives.Read(b) }
func (s *side) Write(b []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.got.Write(b)
}
func (s *side) CloseWrite() error { return nil }
func (s *side) Close() error      { return nil }
func (s *side) Abort() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.aborted = true
}

// A refusal that comes while the connection to the application is made: no byte reaches it.
func TestNothingMovesAfterARefusal(t *testing.T) {
	pod := &Pod{Reporter: telemetry.New(prometheus.NewRegistry()), Limits: DefaultLimits}
	pod.Begin()
	ctx, refuse := context.WithCancelCause(context.Background())
	refuse(errors.New("policy: denied"))
	for range 100 {
		source, application := &side{gives: bytes.NewBufferString("secret")}, &side{gives: &bytes.Buffer{}}
		pod.Copy(ctx, telemetry.Record{Direction: "inbound"}, source, application)
		if application.got.Len() > 0 || !source.aborted || !application.aborted {
			t.Fatalf("the application got %q; aborted: %v, %v", application.got.String(), source.aborted, application.aborted)
		}
	}
	if pod.Reporter.Refusals() != 100 {
		t.Errorf("%d refusals are told", pod.Reporter.Refusals())
	}
}

func TestSlots(t *testing.T) {
	one, other, third := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	slots := NewSlots(3, 2)
	var releases []func()
	for i, step := range []struct {
		source netip.Addr
		want   error
	}{{one, nil}, {one, nil}, {one, ErrFullOfSource}, {other, nil}, {other, ErrFull}, {third, ErrFull}} {
		release, err := slots.Enter(step.source)
		if !errors.Is(err, step.want) {
			t.Fatalf("step %d: %v, want %v", i, err, step.want)
		}
		if err == nil {
			releases = append(releases, release)
		}
	}
	for _, release := range releases {
		release()
		release() // gives nothing back a second time
	}
	if slots.used != 0 || len(slots.by) != 0 {
		t.Errorf("%d used, %v", slots.used, slots.by)
	}
}

// failing is a listener whose accept fails before it works.
type failing struct {
	net.Listener
	errors []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errors) > 0 {
		err := f.errors[0]
		f.errors = f.errors[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

// Errors that pass leave the listener open, also those that net/http takes for the end; the connection above the bound is reset.
func TestBoundListener(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 8)
	listener := Bound(&failing{inner, []error{syscall.ENOBUFS, syscall.EMFILE, syscall.EHOSTUNREACH}}, NewSlots(1, 1),
		func(_ netip.AddrPort, why error) { told <- why })
	accepted := make(chan net.Conn, 8)
	done := make(chan error, 1)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- connection
		}
	}()
	dial := func() (net.Conn, error) {
		connection, err := net.Dial("tcp4", inner.Addr().String())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = connection.Close() })
		return connection, connection.SetDeadline(time.Now().Add(20 * time.Second))
	}
	if _, err := dial(); err != nil {
		t.Fatal(err)
	}
	first := <-accepted
	for _, want := range []error{syscall.ENOBUFS, syscall.EMFILE, syscall.EHOSTUNREACH} {
		if err := <-told; !errors.Is(err, want) {
			t.Errorf("told %v, want %v", err, want)
		}
	}
	second, err := dial()
	if err == nil {
		_, err = second.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("above the bound: %v", err)
	}
	if err := <-told; !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := dial(); err != nil {
		t.Fatal(err)
	}
	_ = (<-accepted).Close()
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
