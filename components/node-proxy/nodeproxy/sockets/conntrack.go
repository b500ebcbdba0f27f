package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Attributes of conntrack's netlink messages (linux/netfilter/nfnetlink_conntrack.h).
const (
	conntrackGet   = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	tupleOrig      = 1
	tupleReply     = 2
	tupleIP        = 1
	tupleProto     = 2
	ipSourceV4     = 1
	ipDestV4       = 2
	ipSourceV6     = 3
	ipDestV6       = 4
	protoNumber    = 1
	protoSource    = 2
	protoDest      = 3
	genericHeader  = 4 // struct nfgenmsg
	nested         = unix.NLA_F_NESTED
	conntrackReply = time.Second
)

// OriginalPacketDestination returns whom a client wrote to before its datagram was redirected to local. The kernel has no socket
// option for that in UDP: its connection tracking is asked, in the pod's namespace.
func (n *Namespace) OriginalPacketDestination(client, local netip.AddrPort) (netip.AddrPort, error) {
	client, local = unmapped(client), unmapped(local)
	if client.Addr().Is6() != local.Addr().Is6() {
		return netip.AddrPort{}, errors.New("addresses of two families")
	}
	fd, err := n.socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer func() { _ = unix.Close(fd) }() // read only
	if err := unix.SetNonblock(fd, false); err != nil {
		return netip.AddrPort{}, err
	}
	timeout := unix.NsecToTimeval(int64(conntrackReply))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return netip.AddrPort{}, err
	}
	if err := unix.Sendto(fd, conntrackRequest(client, local), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return netip.AddrPort{}, err
	}
	buffer := make([]byte, 4096)
	size, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return netip.AddrPort{}, err
	}
	original, err := conntrackAnswer(buffer[:size])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if original == local {
		return netip.AddrPort{}, ErrNotRedirected
	}
	return original, nil
}

// conntrackRequest asks for the entry whose replies go from local to client.
func conntrackRequest(client, local netip.AddrPort) []byte {
	family, source, dest := byte(unix.AF_INET), uint16(ipSourceV4), uint16(ipDestV4)
	if local.Addr().Is6() {
		family, source, dest = unix.AF_INET6, ipSourceV6, ipDestV6
	}
	addresses := append(attribute(source, local.Addr().AsSlice()), attribute(dest, client.Addr().AsSlice())...)
	ports := attribute(protoNumber, []byte{unix.IPPROTO_UDP})
	ports = append(ports, attribute(protoSource, binary.BigEndian.AppendUint16(nil, local.Port()))...)
	ports = append(ports, attribute(protoDest, binary.BigEndian.AppendUint16(nil, client.Port()))...)
	tuple := append(attribute(tupleIP|nested, addresses), attribute(tupleProto|nested, ports)...)
	body := append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attribute(tupleReply|nested, tuple)...)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, conntrackGet)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST)
	message = binary.NativeEndian.AppendUint64(message, 1) // sequence 1, port 0
	return append(message, body...)
}

func attribute(kind uint16, data []byte) []byte {
	result := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(data)))
	result = append(binary.NativeEndian.AppendUint16(result, kind), data...)
	return append(result, make([]byte, -len(result)&(unix.NLA_ALIGNTO-1))...)
}

// conntrackAnswer reads the destination of the original direction.
func conntrackAnswer(message []byte) (netip.AddrPort, error) {
	if len(message) < unix.SizeofNlMsghdr+4 {
		return netip.AddrPort{}, errors.New("a short answer of connection tracking")
	}
	if binary.NativeEndian.Uint16(message[4:]) == unix.NLMSG_ERROR {
		code := unix.Errno(-int32(binary.NativeEndian.Uint32(message[unix.SizeofNlMsghdr:])))
		if code == unix.ENOENT {
			return netip.AddrPort{}, ErrNotRedirected
		}
		return netip.AddrPort{}, fmt.Errorf("connection tracking: %w", code)
	}
	end := min(int(binary.NativeEndian.Uint32(message)), len(message))
	if end < unix.SizeofNlMsghdr+genericHeader {
		return netip.AddrPort{}, errors.New("a short answer of connection tracking")
	}
	tuple := attributes(attributes(message[unix.SizeofNlMsghdr+genericHeader : end])[tupleOrig])
	addresses, ports := attributes(tuple[tupleIP]), attributes(tuple[tupleProto])
	raw := addresses[ipDestV4]
	if raw == nil {
		raw = addresses[ipDestV6]
	}
	address, ok := netip.AddrFromSlice(raw)
	if !ok || len(ports[protoDest]) < 2 {
		return netip.AddrPort{}, errors.New("an answer of connection tracking without a destination")
	}
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(ports[protoDest])), nil
}

func attributes(data []byte) map[uint16][]byte {
	result := map[uint16][]byte{}
	for len(data) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofNlAttr || length > len(data) {
			break
		}
		result[binary.NativeEndian.Uint16(data[2:])&^uint16(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = data[unix.SizeofNlAttr:length]
		data = data[min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(data)):]
	}
	return result
}
