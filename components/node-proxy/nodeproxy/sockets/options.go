package sockets

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Keepalive says when a peer that vanished is given up.
type Keepalive struct {
	Idle     time.Duration
	Interval time.Duration
	Count    int
	// User bounds how long sent data may stay unacknowledged, and how long a reader may keep its window shut: it also overrides
	// Count, as the kernel defines it.
	User time.Duration
}

// DefaultKeepalive notices a peer that vanished within five minutes, and lets a reader rest as long.
var DefaultKeepalive = Keepalive{Idle: time.Minute, Interval: 15 * time.Second, Count: 6, User: 5 * time.Minute}

type option struct {
	name         string
	level, which int
	value        int
}

func set(fd int, options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.which, o.value); err != nil {
			return fmt.Errorf("socket option %s: %w", o.name, err)
		}
	}
	return nil
}

func marked() option { return option{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, Mark} }

func streamOptions(k Keepalive) []option {
	return []option{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle / time.Second)},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval / time.Second)},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.User / time.Millisecond)},
	}
}

// foreignAddress lets a socket be bound to the address of a client, and leaves the choice of the port to connect: one port then
// serves for each destination, so that ports do not run out.
func foreignAddress(v6 bool) []option {
	options := []option{{"IP_BIND_ADDRESS_NO_PORT", unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1}}
	if v6 {
		return append(options,
			option{"IPV6_TRANSPARENT", unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1},
			option{"IPV6_FREEBIND", unix.SOL_IPV6, unix.IPV6_FREEBIND, 1})
	}
	return append(options,
		option{"IP_TRANSPARENT", unix.SOL_IP, unix.IP_TRANSPARENT, 1},
		option{"IP_FREEBIND", unix.SOL_IP, unix.IP_FREEBIND, 1})
}

func domain(address netip.Addr) int {
	if address.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func sockaddr(address netip.AddrPort) unix.Sockaddr {
	if address.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
}
