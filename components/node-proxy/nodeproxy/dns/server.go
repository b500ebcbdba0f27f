// Package dns answers the names of the mesh for the applications of a pod, and hands every other question on, unread where it can,
// from the pod to the resolver that was asked.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/sockets"
)

const (
	largest         = 65535
	inFlight        = 256 // questions of one pod at once
	forwardTimeout  = 5 * time.Second
	idleTCP         = 10 * time.Second
	largestDatagram = 4096
	errorPause      = time.Millisecond
)

// datagrams are buffers for answers. One of its own for each question would be 64 KiB, and pods may ask thousands a second.
var datagrams = sync.Pool{New: func() any { return new([largest]byte) }}

// Server serves one pod.
type Server struct {
	pod      *serving.Pod
	resolver netip.AddrPort // asked when it is not known whom the pod has asked
	packets  []*net.UDPConn
	streams  []*net.TCPListener
	busy     chan struct{}
	closing  sync.Once
}

// New makes a server without sockets.
func New(pod *serving.Pod, resolver netip.AddrPort) *Server {
	return &Server{pod: pod, resolver: resolver, busy: make(chan struct{}, inFlight)}
}

// Listen opens the sockets of one family. Only the pod itself reaches a loopback address: no other pod can use it as an open resolver.
func (s *Server) Listen(loopback netip.Addr) error {
	address := netip.AddrPortFrom(loopback, sockets.DNSPort)
	packets, err := s.pod.Namespace.ListenPacket(address)
	if err != nil {
		return err
	}
	streams, err := s.pod.Namespace.Listen(address)
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	s.packets, s.streams = append(s.packets, packets), append(s.streams, streams)
	return nil
}

// Serve answers until Close.
func (s *Server) Serve() {
	for _, packets := range s.packets {
		s.pod.Go(func() { s.receive(packets) })
	}
	for _, listener := range s.streams {
		s.pod.Go(func() { s.pod.Accept(listener, s.pod.Names, s.stream) })
	}
}

// Close ends it; what is being answered still is.
func (s *Server) Close() {
	s.closing.Do(func() {
		for _, packets := range s.packets {
			if err := packets.Close(); err != nil {
				s.pod.Log.Error("closing the socket of names", "error", err)
			}
		}
		for _, listener := range s.streams {
			if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.pod.Log.Error("closing the listener of names", "error", err)
			}
		}
	})
}

func (s *Server) receive(packets *net.UDPConn) {
	buffer := make([]byte, largest)
	for {
		n, client, err := packets.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An ICMP error of an earlier answer: nobody waits for it. An error that stays must not keep a processor busy.
			select {
			case <-s.pod.Context().Done():
				return
			case <-time.After(errorPause):
			}
			continue
		}
		if answer := s.known(buffer[:n], true); answer != nil {
			// At once: questions that wait for a resolver must not keep the names of the mesh back.
			s.send(packets, answer, client)
			continue
		}
		select {
		case s.busy <- struct{}{}:
		default:
			continue // as a full resolver does; the client asks again
		}
		question := append([]byte(nil), buffer[:n]...)
		s.pod.Go(func() {
			defer func() { <-s.busy }()
			ctx, cancel := context.WithTimeout(s.pod.Context(), forwardTimeout)
			defer cancel()
			local, ok := packets.LocalAddr().(*net.UDPAddr)
			if !ok {
				return
			}
			ask := func(question []byte) ([]byte, error) {
				return s.forwardPacket(ctx, s.asked(client, local.AddrPort()), question)
			}
			if answer := s.answer(ctx, question, true, ask); answer != nil {
				s.send(packets, answer, client)
			}
		})
	}
}

func (s *Server) send(packets *net.UDPConn, answer []byte, client netip.AddrPort) {
	if _, err := packets.WriteToUDPAddrPort(answer, client); err != nil && !errors.Is(err, net.ErrClosed) {
		s.pod.Log.Debug("an answer of names was not sent", "error", err)
	}
}

// asked returns the resolver that the client of a redirected datagram has asked.
func (s *Server) asked(client, local netip.AddrPort) netip.AddrPort {
	original, err := s.pod.Namespace.OriginalPacketDestination(client, local)
	if err != nil || sockets.OwnPort(original.Port()) {
		s.pod.Log.Debug("the resolver that was asked is not known", "error", err)
		return s.resolver
	}
	return original
}

// stream answers the questions of a TCP connection, one after the other.
func (s *Server) stream(ctx context.Context, connection *net.TCPConn) {
	defer func() { _ = connection.Close() }() // every answer was written, or failed
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	resolver, err := sockets.OriginalDestination(connection)
	if err != nil || sockets.OwnPort(resolver.Port()) {
		resolver = s.resolver
	}
	for {
		if ctx.Err() != nil || connection.SetDeadline(time.Now().Add(idleTCP)) != nil {
			return
		}
		question, err := readMessage(connection)
		if err != nil {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, forwardTimeout)
		answer := s.answer(bounded, question, false, func(question []byte) ([]byte, error) {
			return s.forwardStream(bounded, resolver, question)
		})
		cancel()
		if answer == nil || writeMessage(connection, answer) != nil {
			return
		}
	}
}

// forwardPacket asks a resolver, from the pod. The socket is connected: nobody else can answer.
func (s *Server) forwardPacket(ctx context.Context, resolver netip.AddrPort, question []byte) ([]byte, error) {
	connection, err := s.pod.Namespace.DialPacket(ctx, resolver)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }() // a datagram socket holds nothing back
	defer interrupt(ctx, connection)()
	if _, err := connection.Write(question); err != nil {
		return nil, err
	}
	buffer := datagrams.Get().(*[largest]byte)
	defer datagrams.Put(buffer)
	for {
		n, err := connection.Read(buffer[:])
		if err != nil {
			return nil, err
		}
		if n >= 2 && len(question) >= 2 && buffer[0] == question[0] && buffer[1] == question[1] {
			return append([]byte(nil), buffer[:n]...), nil
		}
	}
}

func (s *Server) forwardStream(ctx context.Context, resolver netip.AddrPort, question []byte) ([]byte, error) {
	connection, err := s.pod.Namespace.Dial(ctx, netip.Addr{}, resolver)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }() // the answer is here, or the error
	defer interrupt(ctx, connection)()
	if err := writeMessage(connection, question); err != nil {
		return nil, err
	}
	return readMessage(connection)
}

// interrupt ends what waits on a connection with the context: at its deadline, and when the pod is deleted.
func interrupt(ctx context.Context, connection net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) }) // fails on a closed one only
}

func readMessage(from io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(from, message)
	return message, err
}

func writeMessage(to io.Writer, message []byte) error {
	if len(message) > largest {
		return errors.New("a message that is too long for TCP")
	}
	_, err := to.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}
