package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const backlog = 1024

// Listen opens a TCP listener in the namespace. Two proxies of one user may share the port, for an upgrade without a gap.
// Accepted sockets inherit the mark and the keepalive.
func (n *Namespace) Listen(address netip.AddrPort) (*net.TCPListener, error) {
	options := append(streamOptions(DefaultKeepalive), marked(), option{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	file, err := n.bound(address, unix.SOCK_STREAM, unix.IPPROTO_TCP, options)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	defer func() { _ = file.Close() }() // FileListener works on a duplicate
	if err := unix.Listen(int(file.Fd()), backlog); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return listener.(*net.TCPListener), nil
}

// ListenPacket opens a UDP socket in the namespace.
func (n *Namespace) ListenPacket(address netip.AddrPort) (*net.UDPConn, error) {
	options := []option{marked(), {"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	file, err := n.bound(address, unix.SOCK_DGRAM, unix.IPPROTO_UDP, options)
	if err != nil {
		return nil, fmt.Errorf("receiving on %s: %w", address, err)
	}
	defer func() { _ = file.Close() }() // FilePacketConn works on a duplicate
	connection, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("receiving on %s: %w", address, err)
	}
	return connection.(*net.UDPConn), nil
}

func (n *Namespace) bound(address netip.AddrPort, kind, protocol int, options []option) (*os.File, error) {
	fd, err := n.socket(domain(address.Addr()), kind, protocol)
	if err != nil {
		return nil, err
	}
	if address.Addr().Is6() {
		// IPv4 has sockets of its own: the original destination is asked for at another level.
		options = append(options, option{"IPV6_V6ONLY", unix.SOL_IPV6, unix.IPV6_V6ONLY, 1})
	}
	if err := set(fd, options...); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, sockaddr(address)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), address.String()), nil
}

// NoIPv6 tells whether an error says that the namespace has no IPv6: not in the kernel, or switched off by sysctl.
func NoIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}
