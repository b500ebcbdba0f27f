package dns

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	headerSize   = 12
	lifetime     = 30              // seconds that a client may keep an answer
	stateTimeout = 2 * time.Second // less than forwardTimeout
)

// answer answers a question, or has it asked elsewhere; nil when there is nothing to say.
func (s *Server) answer(ctx context.Context, question []byte, datagram bool, ask func([]byte) ([]byte, error)) []byte {
	if len(question) < headerSize || question[2]&0x80 != 0 {
		return nil // no question
	}
	if !s.pod.Control.Ready() {
		if message, _ := ours(question); message != nil {
			s.awaitNames(ctx)
		}
	}
	if answer := s.known(question, datagram); answer != nil {
		return answer
	}
	got, err := ask(question)
	if err != nil {
		s.pod.Log.Debug("a question of names was not answered", "error", err)
		return failure(question)
	}
	return got
}

// known answers a question for a name of the mesh, from memory; nil for all else.
func (s *Server) known(question []byte, datagram bool) []byte {
	if len(question) < headerSize || question[2]&0x80 != 0 {
		return nil // no question
	}
	message, name := ours(question)
	if message == nil {
		return nil
	}
	addresses, known := s.pod.Control.Resolve(s.pod.Pod, name)
	if !known {
		return nil
	}
	return reply(message, addresses, datagram)
}

// awaitNames waits, bounded, for the mesh's state: without it no name is known, and a wrong "no such name" would be remembered.
// Whatever is answered then, connections are judged anyway.
func (s *Server) awaitNames(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	for {
		changed := s.pod.Control.Changed() // before the question: no change is missed
		if s.pod.Control.Ready() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// ours reads a question for the addresses of one name; everything else (updates, transfers, other types, what cannot be read) is
// none and is handed on as it is.
func ours(question []byte) (message *dns.Msg, name string) {
	if opcode := question[2] >> 3 & 0xf; opcode != dns.OpcodeQuery {
		return nil, ""
	}
	message = &dns.Msg{}
	if message.Unpack(question) != nil || len(message.Question) != 1 {
		return nil, ""
	}
	asked := message.Question[0]
	if asked.Qclass != dns.ClassINET || asked.Qtype != dns.TypeA && asked.Qtype != dns.TypeAAAA {
		return nil, ""
	}
	return message, asked.Name
}

// reply makes an answer of the addresses of the family that was asked for: none of them is an answer too.
func reply(question *dns.Msg, addresses []netip.Addr, datagram bool) []byte {
	message := new(dns.Msg).SetReply(question)
	message.Authoritative, message.RecursionAvailable = true, true
	asked := question.Question[0]
	for _, address := range addresses {
		header := dns.RR_Header{Name: asked.Name, Rrtype: asked.Qtype, Class: dns.ClassINET, Ttl: lifetime}
		address = address.Unmap()
		switch {
		case asked.Qtype == dns.TypeA && address.Is4():
			message.Answer = append(message.Answer, &dns.A{Hdr: header, A: address.AsSlice()})
		case asked.Qtype == dns.TypeAAAA && address.Is6():
			message.Answer = append(message.Answer, &dns.AAAA{Hdr: header, AAAA: address.AsSlice()})
		}
	}
	rand.Shuffle(len(message.Answer), func(a, b int) { message.Answer[a], message.Answer[b] = message.Answer[b], message.Answer[a] })
	size := dns.MaxMsgSize
	if datagram {
		size = dns.MinMsgSize
	}
	if extension := question.IsEdns0(); extension != nil {
		message.SetEdns0(largestDatagram, false)
		if datagram {
			size = min(max(int(extension.UDPSize()), dns.MinMsgSize), largestDatagram)
		}
	}
	message.Compress = true
	message.Truncate(size)
	packed, err := message.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// failure is SERVFAIL for a question that need not be readable: its header, without its sections.
func failure(question []byte) []byte {
	header := append([]byte(nil), question[:headerSize]...)
	header[2] |= 0x80
	header[3] = header[3]&0xf0 | dns.RcodeServerFailure
	if message := new(dns.Msg); message.Unpack(question) == nil && message.Opcode == dns.OpcodeQuery {
		if packed, err := new(dns.Msg).SetRcode(message, dns.RcodeServerFailure).Pack(); err == nil {
			return packed
		}
	}
	for i := 4; i < headerSize; i++ {
		header[i] = 0
	}
	return header
}
