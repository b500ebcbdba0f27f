package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/telemetry"
)

type fixture struct {
	network *nettest.Network
	pod     *nettest.Pod
	control *meshtest.Control
	server  *Server
}

func newFixture(t *testing.T, options nettest.Options) *fixture {
	t.Helper()
	f := &fixture{network: nettest.New(t), control: meshtest.NewControl()}
	f.pod = f.network.Pod(options)
	served := &serving.Pod{Pod: mesh.Pod{Name: "p", Namespace: "shop", ServiceAccount: "a"}, Namespace: f.pod.Namespace, Control: f.control,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})), Limits: serving.DefaultLimits,
		Reporter: telemetry.New(prometheus.NewRegistry())}
	served.Begin()
	// Nobody is there: whom a pod has asked must be found out.
	f.server = New(served, netip.MustParseAddrPort("192.0.2.1:53"))
	for _, loopback := range []string{"127.0.0.1", "::1"} {
		if err := f.server.Listen(netip.MustParseAddr(loopback)); err != nil {
			t.Fatal(err)
		}
	}
	f.server.Serve()
	t.Cleanup(func() {
		f.server.Close()
		served.Stop(serving.ErrDeleted)
	})
	f.control.Set(func(s *meshtest.State) {
		s.Ready = true
		s.Names["web.shop.svc.cluster.local."] = []netip.Addr{netip.MustParseAddr("10.96.0.1")}
		s.Names["empty.shop.svc.cluster.local."] = nil
		for i := range 256 {
			s.Names["many."] = append(s.Names["many."], netip.MustParseAddr(fmt.Sprintf("10.97.0.%d", i)))
		}
	})
	return f
}

// resolver answers every question with a record that tells who was asked and by whom.
func resolver(t *testing.T, f *fixture, address string) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		answer := new(dns.Msg).SetReply(r)
		client, _, _ := net.SplitHostPort(w.RemoteAddr().String())
		if len(r.Question) > 0 {
			answer.Answer = append(answer.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT,
				Class: dns.ClassINET}, Txt: []string{address + " asked by " + client, dns.OpcodeToString[r.Opcode]}})
		}
		_ = w.WriteMsg(answer)
	})
	started := make(chan struct{}, 2)
	for _, server := range []*dns.Server{
		{PacketConn: nettest.ListenPacket(t, f.network.Router, address), Handler: handler},
		{Listener: nettest.Listen(t, f.network.Router, address), Handler: handler},
	} {
		server.NotifyStartedFunc = func() { started <- struct{}{} }
		// Dynamic updates too: by default the library refuses them itself.
		server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		go func() { _ = server.ActivateAndServe() }()
	}
	<-started
	<-started
}

func ask(t *testing.T, f *fixture, network, address string, question *dns.Msg) (*dns.Msg, error) {
	t.Helper()
	connection, err := nettest.Dial(t, f.pod.Namespace, network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	stream := &dns.Conn{Conn: connection, UDPSize: dns.MaxMsgSize}
	if err := stream.WriteMsg(question); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.ReadMsg()
	if err == nil && answer.Id != question.Id {
		err = errors.New("an answer of another question")
	}
	return answer, err
}

func about(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestNames(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	asked := f.pod.Gateway.String() + ":53"
	six := "[fd00:99:1::1]:53"
	resolver(t, f, asked)
	resolver(t, f, six)
	for _, network := range []string{"udp", "tcp"} {
		for _, address := range []string{asked, six} {
			client := f.pod.V4.String()
			if address == six {
				client = f.pod.V6.String()
			}
			for name, test := range map[string]struct {
				question *dns.Msg
				want     string
			}{
				"a name of the mesh":           {about("web.shop.svc.cluster.local.", dns.TypeA), "10.96.0.1"},
				"the family it has not":        {about("web.shop.svc.cluster.local.", dns.TypeAAAA), ""},
				"without addresses":            {about("empty.shop.svc.cluster.local.", dns.TypeA), ""},
				"another type is forwarded":    {about("web.shop.svc.cluster.local.", dns.TypeSRV), address + " asked by " + client},
				"an unknown name is forwarded": {about("example.org.", dns.TypeA), address + " asked by " + client},
				"an update is forwarded unread": {new(dns.Msg).SetUpdate("example.org."),
					address + " asked by " + client},
			} {
				t.Run(network+" "+address+" "+name, func(t *testing.T) {
					answer, err := ask(t, f, network, address, test.question)
					if err != nil || answer.Rcode != dns.RcodeSuccess {
						t.Fatal(answer, err)
					}
					got := ""
					for _, record := range answer.Answer {
						switch record := record.(type) {
						case *dns.A:
							got += record.A.String()
						case *dns.TXT:
							got += record.Txt[0]
						}
					}
					if got != test.want {
						t.Errorf("got %q, want %q", got, test.want)
					}
				})
			}
		}
	}
}

func TestTruncation(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	address := f.pod.Gateway.String() + ":53"
	extended := about("many.", dns.TypeA).SetEdns0(1232, false)
	for name, test := range map[string]struct {
		network   string
		question  *dns.Msg
		size      int
		truncated bool
	}{
		"UDP":             {"udp", about("many.", dns.TypeA), 512, true},
		"UDP, extended":   {"udp", extended, 1232, true},
		"TCP, everything": {"tcp", about("many.", dns.TypeA), dns.MaxMsgSize, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := ask(t, f, test.network, address, test.question)
			if err != nil {
				t.Fatal(err)
			}
			answer.Compress = true
			if answer.Truncated != test.truncated || answer.Len() > test.size || !test.truncated && len(answer.Answer) != 256 {
				t.Errorf("truncated %v, %d bytes, %d records", answer.Truncated, answer.Len(), len(answer.Answer))
			}
		})
	}
}

func TestResolverThatDoesNotAnswer(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	answer, err := ask(t, f, "tcp", f.pod.Gateway.String()+":53", about("example.org.", dns.TypeA)) // nobody listens
	if err != nil || answer.Rcode != dns.RcodeServerFailure {
		t.Error(answer, err)
	}
}

// Another pod cannot use the port: it is on loopback addresses only.
func TestNoOpenResolver(t *testing.T) {
	f := newFixture(t, nettest.Options{NoRules: true})
	connection, err := nettest.Dial(t, f.network.Router, "udp", f.pod.V4.String()+":15053")
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.SetDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := (&dns.Conn{Conn: connection}).WriteMsg(about("web.shop.svc.cluster.local.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if n, err := connection.Read(make([]byte, 512)); err == nil {
		t.Errorf("%d bytes were answered to a stranger", n)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, message := range []*dns.Msg{about("web.shop.svc.cluster.local.", dns.TypeA), new(dns.Msg).SetUpdate("a."),
		about("many.", dns.TypeAAAA).SetEdns0(100, true)} {
		packed, err := message.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, true)
	}
	f.Add([]byte("short"), false)
	control := meshtest.NewControl()
	control.Set(func(s *meshtest.State) {
		s.Ready = true
		s.Names["web.shop.svc.cluster.local."] = []netip.Addr{netip.MustParseAddr("10.96.0.1")}
	})
	pod := &serving.Pod{Control: control, Log: slog.New(slog.DiscardHandler), Limits: serving.DefaultLimits}
	pod.Begin()
	server := New(pod, netip.AddrPort{})
	f.Fuzz(func(t *testing.T, question []byte, datagram bool) {
		answer := server.answer(context.Background(), question, datagram, func([]byte) ([]byte, error) { return nil, errors.New("none") })
		if answer == nil {
			return
		}
		if len(answer) < headerSize || answer[2]&0x80 == 0 || answer[0] != question[0] || answer[1] != question[1] {
			t.Errorf("%x answers %x", answer, question)
		}
		if datagram && len(answer) > largestDatagram {
			t.Errorf("%d bytes", len(answer))
		}
	})
}
