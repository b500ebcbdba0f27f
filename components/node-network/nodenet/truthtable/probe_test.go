package truthtable

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// A refused connection cannot be told from a slow one but by waiting: this
// long for those expected to be refused, longer for those expected to pass.
const (
	refusedAfter = 250 * time.Millisecond
	passesWithin = 4 * time.Second
)

// cell is one entry of the truth table.
type cell struct {
	from, to string
	protocol corev1.Protocol
	port     int
}

func (c cell) String() string { return fmt.Sprintf("%s -> %s %s/%d", c.from, c.to, c.protocol, c.port) }

// serve makes a namespace answer on all ports of an address, TCP and UDP, by
// echoing. Not on all addresses: a node would answer UDP from another one of
// its own. The address need not be there yet.
func serve(t *testing.T, s *space, address netip.Addr, ports []int) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var inner error
		outer := raw.Control(func(fd uintptr) {
			inner = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		})
		return errors.Join(outer, inner)
	}}
	for _, port := range ports {
		var listener net.Listener
		var packets net.PacketConn
		s.do(t, func() (err error) {
			at := netip.AddrPortFrom(address, uint16(port)).String()
			if listener, err = config.Listen(t.Context(), "tcp4", at); err != nil {
				return err
			}
			packets, err = config.ListenPacket(t.Context(), "udp4", at)
			return err
		})
		t.Cleanup(func() {
			if err := errors.Join(listener.Close(), packets.Close()); err != nil {
				t.Error(err)
			}
		})
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return // closed at the end of the test
				}
				go echo(connection)
			}
		}()
		go func() {
			buffer := make([]byte, 64)
			for {
				n, from, err := packets.ReadFrom(buffer)
				if err != nil {
					return
				}
				if _, err := packets.WriteTo(buffer[:n], from); err != nil && errors.Is(err, net.ErrClosed) {
					return
				}
			}
		}()
	}
}

func echo(connection net.Conn) {
	defer func() { _ = connection.Close() }() // the other end may have reset it
	buffer := make([]byte, 64)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// attempt is a connection under way.
type attempt struct {
	cell   cell
	fd     int
	passes bool
	hoped  bool
}

// probe opens all cells, which start in namespace s, at the same time, and
// returns which of them passed. hoped are those worth a longer wait. Every
// attempt has a source port of its own: no connection tracking entry of an
// earlier one may let it pass. It must run on the thread of s.
func probe(cells []cell, addresses map[string]netip.Addr, hoped map[cell]bool, sourcePort *int) (map[cell]bool, error) {
	attempts := make([]*attempt, 0, len(cells))
	defer func() {
		for _, a := range attempts {
			_ = unix.Close(a.fd) // a reset connection is as good as closed
		}
	}()
	for _, c := range cells {
		*sourcePort++
		fd, err := open(c, addresses[c.to], *sourcePort)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		attempts = append(attempts, &attempt{cell: c, fd: fd, hoped: hoped[c]})
	}
	begin := time.Now()
	for {
		var waiting []unix.PollFd
		var waiters []*attempt
		hoping := false
		for _, a := range attempts {
			if !a.passes {
				events := int16(unix.POLLIN)
				if a.cell.protocol == corev1.ProtocolTCP {
					events = unix.POLLOUT
				}
				waiting = append(waiting, unix.PollFd{Fd: int32(a.fd), Events: events})
				waiters = append(waiters, a)
				hoping = hoping || a.hoped
			}
		}
		spent := time.Since(begin)
		left := refusedAfter - spent
		if hoping {
			left = passesWithin - spent
		}
		if left <= 0 || len(waiting) == 0 {
			break
		}
		n, err := unix.Poll(waiting, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		broken := 0
		for i, a := range waiters {
			if n <= 0 || waiting[i].Revents == 0 {
				continue
			}
			ok, err := arrived(a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.cell, err)
			}
			a.passes = ok
			if !ok {
				broken++
			}
		}
		if broken > 0 {
			return nil, fmt.Errorf("%d connections were reset: every port listens, and the agent drops without answering", broken)
		}
	}
	results := make(map[cell]bool, len(attempts))
	for _, a := range attempts {
		results[a.cell] = a.passes
	}
	return results, nil
}

func open(c cell, to netip.Addr, sourcePort int) (int, error) {
	kind := unix.SOCK_DGRAM
	if c.protocol == corev1.ProtocolTCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // reset, no TIME_WAIT
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: sourcePort})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: c.port, Addr: to.As4()})
	}
	if errors.Is(err, unix.EINPROGRESS) {
		err = nil
	}
	if err == nil && kind == unix.SOCK_DGRAM {
		_, err = unix.Write(fd, []byte("probe"))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func arrived(a *attempt) (bool, error) {
	status, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || status != 0 {
		return false, err
	}
	if a.cell.protocol == corev1.ProtocolTCP {
		return true, nil
	}
	buffer := make([]byte, 64)
	n, err := unix.Read(a.fd, buffer)
	return n > 0, err
}
