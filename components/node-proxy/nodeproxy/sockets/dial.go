package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects from within the namespace. With a valid source the destination sees that address as its peer: that of a client
// whose bytes are handed on. The context bounds the connect.
func (n *Namespace) Dial(ctx context.Context, source netip.Addr, destination netip.AddrPort) (*net.TCPConn, error) {
	connection, err := n.dial(ctx, source, destination, unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", destination, err)
	}
	return connection.(*net.TCPConn), nil
}

// DialPacket makes a UDP socket within the namespace that talks to one destination only.
func (n *Namespace) DialPacket(ctx context.Context, destination netip.AddrPort) (*net.UDPConn, error) {
	connection, err := n.dial(ctx, netip.Addr{}, destination, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("sending to %s: %w", destination, err)
	}
	return connection.(*net.UDPConn), nil
}

func (n *Namespace) dial(ctx context.Context, source netip.Addr, destination netip.AddrPort, kind, protocol int) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	source, destination = source.Unmap(), netip.AddrPortFrom(destination.Addr().Unmap(), destination.Port())
	if !destination.IsValid() || destination.Port() == 0 {
		return nil, errors.New("no address and port to connect to")
	}
	if source.IsValid() && source.Is6() != destination.Addr().Is6() {
		return nil, fmt.Errorf("the source %s is of another family", source)
	}
	fd, err := n.socket(domain(destination.Addr()), kind, protocol)
	if err != nil {
		return nil, err
	}
	options := []option{marked()}
	if protocol == unix.IPPROTO_TCP {
		// With SO_REUSEADDR the application can still listen on a port that the kernel has chosen here, if it sets the option too. In UDP
		// it would let another socket take the answers.
		options = append(append(options, streamOptions(DefaultKeepalive)...), option{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	}
	if source.IsValid() {
		options = append(options, foreignAddress(source.Is6())...)
	}
	if err := set(fd, options...); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if source.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return nil, errors.Join(fmt.Errorf("binding to %s: %w", source, err), unix.Close(fd))
		}
	}
	started := unix.Connect(fd, sockaddr(destination))
	file := os.NewFile(uintptr(fd), destination.String())
	defer func() { _ = file.Close() }() // FileConn works on a duplicate
	if started != nil && !errors.Is(started, unix.EINPROGRESS) {
		return nil, started
	}
	if started != nil {
		if err := connected(ctx, file); err != nil {
			return nil, err
		}
	}
	return net.FileConn(file)
}

// connected waits, in the runtime's poller, until the connect has ended.
func connected(ctx context.Context, file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) }) // a closed file needs no deadline
	defer stop()
	outcome := 0
	var asked error
	// The socket is asked each time, for the poller forgets what happened before the first wait.
	err = raw.Write(func(fd uintptr) bool {
		outcome, asked = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if asked != nil || outcome != 0 {
			return true
		}
		_, pending := unix.Getpeername(int(fd))
		return pending == nil
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer: %w", ctx.Err())
	case err != nil:
		return err
	case asked != nil:
		return asked
	case outcome != 0:
		return unix.Errno(outcome)
	}
	return nil
}
