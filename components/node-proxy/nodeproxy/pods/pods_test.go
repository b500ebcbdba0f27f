package pods

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
)

func TestPathsOfAConnection(t *testing.T) {
	w := newWorld(t)
	w.serve(w.client, "client")
	w.serve(w.server, "server")
	server4, server6 := netip.AddrPortFrom(w.server.V4, 8080).String(), netip.AddrPortFrom(w.server.V6, 8080).String()
	outside := netip.AddrPortFrom(w.client.Gateway, 9000).String()
	for namespace, addresses := range map[*sockets.Namespace][]string{w.server.Namespace: {server4, server6}, w.network.Router: {outside}} {
		for _, address := range addresses {
			greeter(t, namespace, address)
		}
	}
	var identity atomic.Value
	w.open()
	w.control.Set(func(s *meshtest.State) {
		s.Inbound = func(_ mesh.Pod, c mesh.Connection) mesh.Decision {
			identity.Store(c.Identity)
			return mesh.Decision{Allowed: true}
		}
	})
	for name, test := range map[string]struct {
		from              *sockets.Namespace
		to, sees, carries string
	}{
		"tunnel":              {w.client.Namespace, server4, w.client.V4.String(), clientIdentity},
		"tunnel, IPv6":        {w.client.Namespace, server6, w.client.V6.String(), clientIdentity},
		"plaintext":           {w.network.Router, server4, "10.99.2.1", ""},
		"pass-through":        {w.client.Namespace, outside, w.client.V4.String(), "none"},
		"call of the own pod": {w.server.Namespace, server4, w.server.V4.String(), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			identity.Store("none")
			connection, seen, err := greeted(t, test.from, test.to)
			if err != nil || seen != test.sees {
				t.Fatalf("the application saw %q, %v; want %q", seen, err, test.sees)
			}
			if identity.Load() != test.carries {
				t.Errorf("policies saw the identity %q, want %q", identity.Load(), test.carries)
			}
			if err := echo(t, connection, "hello"); err != nil {
				t.Error(err)
			}
			if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(connection); err != nil || len(rest) != 0 {
				t.Errorf("after the end: %q, %v", rest, err)
			}
		})
	}
	nettest.Until(t, "all admissions are left", func() bool { return w.factory.Registry.Size() == 0 })
}

// Without configuration nothing gets through; a connection that waited does when it arrives.
func TestNoConfigurationIsNoTraffic(t *testing.T) {
	w := newWorld(t)
	w.factory.Limits.Await = 200 * time.Millisecond
	w.serve(w.client, "client")
	w.serve(w.server, "server")
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	outside := netip.AddrPortFrom(w.client.Gateway, 9000).String()
	greeter(t, w.network.Router, outside)
	refused(t, w.client.Namespace, address)
	refused(t, w.client.Namespace, outside)
	refused(t, w.network.Router, address)
	w.control.Set(func(s *meshtest.State) { s.Ready = true }) // ready, with answers that nobody filled in
	refused(t, w.client.Namespace, address)
	refused(t, w.network.Router, address)
	w.open()
	if _, _, err := greeted(t, w.client.Namespace, address); err != nil {
		t.Error(err)
	}
}

func TestConnectionWaitsForTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.serve(w.server, "server")
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	connection, err := nettest.Dial(t, w.network.Router, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w.open()
	if _, err := connection.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// A pod whose service account discovery does not know has no identity: nothing goes out and nothing comes in.
func TestUnknownPodIsRefused(t *testing.T) {
	w := newWorld(t)
	w.factory.Limits.Await = 100 * time.Millisecond
	w.open()
	w.serve(w.client, "unknown")
	outside := netip.AddrPortFrom(w.client.Gateway, 9000).String()
	greeter(t, w.network.Router, outside)
	refused(t, w.client.Namespace, outside)
	inside := netip.AddrPortFrom(w.client.V4, 8080).String()
	greeter(t, w.client.Namespace, inside)
	refused(t, w.network.Router, inside)
}

func TestOwnPortsDoNotLoop(t *testing.T) {
	w, _ := openWorld(t)
	before := runtime.NumGoroutine()
	for _, port := range []uint16{sockets.OutboundPort, sockets.PlaintextPort} {
		for _, own := range []netip.Addr{w.client.V4, netip.MustParseAddr("127.0.0.1"), w.server.V4, w.client.V6} {
			refused(t, w.client.Namespace, netip.AddrPortFrom(own, port).String())
		}
		refused(t, w.network.Router, netip.AddrPortFrom(w.client.V4, port).String())
	}
	// What asks for the tunnel's port of another pod is refused before anything is sent; without TLS the peer refuses.
	refused(t, w.client.Namespace, netip.AddrPortFrom(w.server.V4, sockets.TunnelPort).String())
	connection, err := nettest.Dial(t, w.network.Router, "tcp", netip.AddrPortFrom(w.server.V4, sockets.TunnelPort).String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(connection); len(answer) > 200 {
		t.Errorf("plaintext was answered: %q", answer)
	}
	nettest.Until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func TestPolicies(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080)
	greeter(t, w.server.Namespace, address.String())
	only := func(identity string, port uint16) {
		w.control.Set(func(s *meshtest.State) {
			s.Inbound = func(_ mesh.Pod, c mesh.Connection) mesh.Decision {
				return mesh.Decision{Allowed: c.Identity == identity && c.Destination.Port() == port, Reason: "strict"}
			}
		})
	}
	only(clientIdentity, 8080)
	tunnelled, _, err := greeted(t, w.client.Namespace, address.String())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.network.Router, address.String()) // plaintext carries no identity
	if err := echo(t, tunnelled, "still open"); err != nil {
		t.Error(err)
	}
	only("", 8080)
	if err := echo(t, tunnelled, "cut"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		if _, err = tunnelled.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("an open connection that is refused now: %v", err)
		}
	}
	plain, _, err := greeted(t, w.network.Router, address.String())
	if err != nil {
		t.Fatal(err)
	}
	only(clientIdentity, 9999)
	if _, err := plain.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection that is refused now: %v", err)
	}
	refused(t, w.client.Namespace, address.String())
	nettest.Until(t, "all admissions are left", func() bool { return w.factory.Registry.Size() == 0 })
}

func TestWrongCertificates(t *testing.T) {
	for name, leaf := range map[string]func(identity string, certificate *x509.Certificate){
		"none of the client": nil,
		"expired":            func(_ string, c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"two names": func(_ string, c *x509.Certificate) {
			c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: "x"})
		},
		"server is another": func(identity string, c *x509.Certificate) {
			if identity == "spiffe://"+serverIdentity {
				c.URIs[0].Path = "/ns/shop/sa/other"
			}
		},
		"no SPIFFE name":  func(_ string, c *x509.Certificate) { c.URIs[0].Scheme = "https" },
		"not for clients": func(_ string, c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.open()
			w.serve(w.client, "client")
			w.serve(w.server, "server")
			address := netip.AddrPortFrom(w.server.V4, 8080).String()
			greeter(t, w.server.Namespace, address)
			if leaf == nil {
				w.identities.NoClientCertificate()
			} else {
				w.identities.Spoil(leaf)
			}
			refused(t, w.client.Namespace, address)
			if size := w.factory.Pool.Size(); size != 0 {
				t.Errorf("%d connections are pooled", size)
			}
		})
	}
}

// A deleted pod's connections end at once, in both directions, and its ports are free for the next.
func TestPodDeletedAndServedAgain(t *testing.T) {
	w, server := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	connection, _, err := greeted(t, w.client.Namespace, address)
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection to a deleted pod: %v", err)
	}
	w.serve(w.server, "server")
	if _, _, err := greeted(t, w.client.Namespace, address); err != nil {
		t.Error(err)
	}
}

func TestDrainLetsOpenConnectionsGoOn(t *testing.T) {
	w, server := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	tunnelled, _, err := greeted(t, w.client.Namespace, address)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := greeted(t, w.network.Router, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), nettest.Wait)
	defer cancel()
	drained := make(chan struct{})
	go func() { server.Drain(ctx); close(drained) }()
	// The successor takes what is new, by the same ports.
	successor := w.serve(w.server, "server")
	nettest.Until(t, "new connections are served by the successor", func() bool {
		connection, _, err := greeted(t, w.client.Namespace, address)
		return err == nil && connection.Close() == nil
	})
	for name, connection := range map[string]net.Conn{"tunnel": tunnelled, "plaintext": plain} {
		if err := echo(t, connection, "still open"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = connection.Close()
	}
	select {
	case <-drained:
	case <-time.After(nettest.Wait):
		t.Error("the drain does not end with the last connection")
	}
	successor.close()
}

func TestListenersAreAllOrNone(t *testing.T) {
	w := newWorld(t)
	taken := nettest.Listen(t, w.server.Namespace, "[::]:15008")
	fd, err := w.server.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := sockets.NewNamespace(fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.factory.Start(mesh.Pod{UID: "server"}, namespace); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	for _, port := range []int{15001, 15006, 15053} { // closed again
		nettest.Listen(t, w.server.Namespace, "0.0.0.0:"+strconv.Itoa(port))
	}
	_ = taken.Close()
	w.network.Pod(nettest.Options{})
	w.serve(w.network.Pod(nettest.Options{NoIPv6: true}), "four")
}

func TestResolver(t *testing.T) {
	got, err := Resolver("search a\nnameserver 10.96.0.10\nnameserver 1.1.1.1\n")
	if err != nil || got.String() != "10.96.0.10:53" {
		t.Error(got, err)
	}
	if _, err := Resolver("search a\n"); err == nil {
		t.Error("no nameserver was found where there is none")
	}
}

// A Service whose endpoint is the calling pod itself.
func TestServiceThatLeadsBack(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.serve(w.server, "server")
	own := netip.AddrPortFrom(w.server.V4, 8080)
	greeter(t, w.server.Namespace, own.String())
	service := netip.MustParseAddrPort("10.96.0.9:80")
	w.control.Set(func(s *meshtest.State) {
		s.Outbound = func(pod mesh.Pod, destination netip.AddrPort) mesh.Route {
			if destination == service {
				destination = own
			}
			return w.tunnelled(pod, destination)
		}
	})
	connection, seen, err := greeted(t, w.server.Namespace, service.String())
	if err != nil || seen != w.server.V4.String() {
		t.Fatalf("%q, %v", seen, err)
	}
	if err := echo(t, connection, "to myself"); err != nil {
		t.Error(err)
	}
}

// A client that is told of one dead endpoint and one that lives reaches the second: nothing was sent before.
func TestAnotherEndpointIsTried(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.serve(w.client, "client")
	alive := netip.AddrPortFrom(w.client.Gateway, 9000)
	greeter(t, w.network.Router, alive.String())
	var asked atomic.Int32
	w.control.Set(func(s *meshtest.State) {
		s.Outbound = func(mesh.Pod, netip.AddrPort) mesh.Route {
			if asked.Add(1) == 1 {
				return mesh.Route{Action: mesh.Plain, Target: netip.AddrPortFrom(w.client.Gateway, 1)}
			}
			return mesh.Route{Action: mesh.Plain, Target: alive}
		}
	})
	if _, _, err := greeted(t, w.client.Namespace, "10.96.0.9:80"); err != nil {
		t.Error(err)
	}
}

// A peer that is no longer in the mesh gets no new streams: its address may be another pod's by now.
func TestTunnelToAPeerThatIsGone(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	connection, _, err := greeted(t, w.client.Namespace, address)
	if err != nil {
		t.Fatal(err)
	}
	w.control.Set(func(s *meshtest.State) { delete(s.Members, w.server.V4) })
	nettest.Until(t, "the tunnel is retired", func() bool { return w.factory.Pool.Size() == 0 })
	if err := echo(t, connection, "still open"); err != nil {
		t.Error(err)
	}
}
