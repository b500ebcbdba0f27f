package serving

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"bookstore.platform/istio/nodeproxy/sockets"
)

// Slots bound how many connections are open at once, in all and of one source, so that one peer cannot take all of them.
type Slots struct {
	total, ofSource int

	mutex sync.Mutex
	used  int
	by    map[netip.Addr]int
}

// NewSlots makes free slots.
func NewSlots(total, ofSource int) *Slots {
	return &Slots{total: max(total, 1), ofSource: max(ofSource, 1), by: map[netip.Addr]int{}}
}

// Enter takes a slot; release gives it back, once.
func (s *Slots) Enter(source netip.Addr) (release func(), err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case s.used >= s.total:
		return nil, ErrFull
	case s.by[source] >= s.ofSource:
		return nil, ErrFullOfSource
	}
	s.used++
	s.by[source]++
	return sync.OnceFunc(func() { s.leave(source) }), nil
}

func (s *Slots) leave(source netip.Addr) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.used--
	if s.by[source]--; s.by[source] == 0 {
		delete(s.by, source)
	}
}

// Bound gives each connection of a listener a slot until it is closed; one without is reset, and refused is told. An error of accept
// that passes (no descriptors, no memory, an error of the network) does not end the listener: only its Close does.
func Bound(listener net.Listener, slots *Slots, refused func(source netip.AddrPort, why error)) net.Listener {
	return &boundListener{Listener: listener, slots: slots, refused: refused}
}

type boundListener struct {
	net.Listener
	slots   *Slots
	refused func(netip.AddrPort, error)
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			l.refused(netip.AddrPort{}, err)
			time.Sleep(acceptPause)
			continue
		}
		_, source := sockets.Ends(connection)
		release, err := l.slots.Enter(source.Addr())
		if err == nil {
			return &boundConnection{Conn: connection, release: release}, nil
		}
		l.refused(source, err)
		if tcp, ok := connection.(*net.TCPConn); ok {
			Reset(tcp)
		} else {
			_ = connection.Close() // nothing was said on it
		}
	}
}

type boundConnection struct {
	net.Conn
	release func()
}

func (c *boundConnection) Close() error {
	defer c.release()
	return c.Conn.Close()
}
