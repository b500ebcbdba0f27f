package dns

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/serving"
)

// Connections that promise a question and do not send it are bounded apart, and names are answered beside them.
func TestStreamsThatSayNothing(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	for range serving.DefaultLimits.Names - 2 {
		if _, err := f.server.pod.Names.Enter(f.pod.V4); err != nil {
			t.Fatal(err)
		}
	}
	address := f.pod.Gateway.String() + ":53"
	silent := func() (net.Conn, error) {
		connection, err := nettest.Dial(t, f.pod.Namespace, "tcp", address)
		if err == nil {
			_, err = connection.Write([]byte{0xff, 0xff, 0})
		}
		return connection, err
	}
	var held []net.Conn
	for range 2 {
		connection, err := silent()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, connection)
	}
	nettest.Until(t, "both have a slot", func() bool {
		release, err := f.server.pod.Names.Enter(f.pod.V4)
		if err == nil {
			release()
		}
		return err != nil
	})
	third, err := silent()
	if err == nil {
		_, err = third.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a third one: %v", err)
	}
	if release, err := f.server.pod.Outgoing.Enter(f.pod.V4); err != nil {
		t.Error(err)
	} else {
		release()
	}
	if answer, err := ask(t, f, "udp", address, about("web.shop.svc.cluster.local.", dns.TypeA)); err != nil || len(answer.Answer) != 1 {
		t.Error(answer, err)
	}
	for _, connection := range held {
		_ = connection.Close()
	}
	nettest.Until(t, "names by TCP again", func() bool {
		connection, err := nettest.Dial(t, f.pod.Namespace, "tcp", address)
		if err != nil {
			return false
		}
		stream := &dns.Conn{Conn: connection}
		if stream.WriteMsg(about("web.shop.svc.cluster.local.", dns.TypeA)) != nil {
			return false
		}
		_, err = stream.ReadMsg()
		return err == nil
	})
}

// A pod that asks a lot makes no 64 KiB of garbage for each question that is forwarded.
func TestMemoryOfAForwardedQuestion(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	address := f.pod.Gateway.String() + ":53"
	resolver(t, f, address)
	connection, err := nettest.Dial(t, f.pod.Namespace, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	stream := &dns.Conn{Conn: connection, UDPSize: 4096}
	one := func() {
		if err := stream.WriteMsg(about("example.org.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.ReadMsg(); err != nil {
			t.Fatal(err)
		}
	}
	one()
	const questions = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range questions {
		one()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / questions; each > 48<<10 {
		t.Errorf("%d bytes for each question", each)
	}
}

// A resolver that does not answer keeps questions waiting until there are no more slots: names of the mesh are answered all the same.
func TestNamesOfTheMeshBesideASilentResolver(t *testing.T) {
	f := newFixture(t, nettest.Options{})
	address := f.pod.Gateway.String() + ":53"
	nettest.ListenPacket(t, f.network.Router, address) // reads nothing
	connection, err := nettest.Dial(t, f.pod.Namespace, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	stream := &dns.Conn{Conn: connection}
	nettest.Until(t, "all slots are taken", func() bool {
		for range 50 {
			if err := stream.WriteMsg(about("example.org.", dns.TypeA)); err != nil {
				t.Fatal(err)
			}
		}
		return len(f.server.busy) == inFlight
	})
	if answer, err := ask(t, f, "udp", address, about("web.shop.svc.cluster.local.", dns.TypeA)); err != nil || len(answer.Answer) != 1 {
		t.Error(answer, err)
	}
	// The end of the pod ends them: its namespace is not held until they are given up.
	began := time.Now()
	f.server.Close()
	f.server.pod.Stop(serving.ErrDeleted)
	if took := time.Since(began); took > forwardTimeout/2 {
		t.Errorf("the end of the pod takes %s", took)
	}
}
