package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const originalDestination = 80 // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST

// ErrNotRedirected says that somebody called the proxy's port itself.
var ErrNotRedirected = errors.New("the connection was not redirected")

// OriginalDestination returns where the peer wanted to go before the rules redirected it.
func OriginalDestination(connection *net.TCPConn) (netip.AddrPort, error) {
	local, ok := connection.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, net.ErrClosed
	}
	own := unmapped(local.AddrPort())
	raw, err := connection.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var buffer [unix.SizeofSockaddrInet6]byte
	size, level := uint32(unix.SizeofSockaddrInet4), unix.SOL_IP
	if own.Addr().Is6() {
		size, level = unix.SizeofSockaddrInet6, unix.SOL_IPV6
	}
	var code syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, code = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, uintptr(level), originalDestination,
			uintptr(unsafe.Pointer(&buffer)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	if code == syscall.ENOENT {
		return netip.AddrPort{}, ErrNotRedirected
	}
	if code != 0 {
		return netip.AddrPort{}, fmt.Errorf("the original destination: %w", code)
	}
	port := binary.BigEndian.Uint16(buffer[2:4])
	address := netip.AddrFrom4([4]byte(buffer[4:8]))
	if level == unix.SOL_IPV6 {
		address = netip.AddrFrom16([16]byte(buffer[8:24]))
	}
	original := netip.AddrPortFrom(address, port)
	if original == own {
		return netip.AddrPort{}, ErrNotRedirected
	}
	return original, nil
}

// Ends returns the addresses of a connection, IPv4 as such.
func Ends(connection net.Conn) (local, remote netip.AddrPort) {
	if address, ok := connection.LocalAddr().(*net.TCPAddr); ok {
		local = unmapped(address.AddrPort())
	}
	if address, ok := connection.RemoteAddr().(*net.TCPAddr); ok {
		remote = unmapped(address.AddrPort())
	}
	return local, remote
}

// The zone goes too: policies and rules know none.
func unmapped(address netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
}

// Reset ends a connection so that its peer sees an error, and not an end of data.
func Reset(connection *net.TCPConn) error {
	return errors.Join(connection.SetLinger(0), connection.Close())
}
