package pods

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"bookstore.platform/istio/nodeproxy/inbound"
	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

// world is a node with a client, a server and what is outside of the mesh.
type world struct {
	t              *testing.T
	network        *nettest.Network
	client, server *nettest.Pod
	control        *meshtest.Control
	identities     *meshtest.Identities
	factory        *Factory
	registry       *prometheus.Registry
	lines          *logged
}

// logged holds what the proxies wrote into the log.
type logged struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *logged) all() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

const clientIdentity, serverIdentity = "cluster.local/ns/shop/sa/client", "cluster.local/ns/shop/sa/server"

func newWorld(t *testing.T) *world {
	t.Helper()
	network := nettest.New(t)
	w := &world{t: t, network: network, client: network.Pod(nettest.Options{}), server: network.Pod(nettest.Options{}),
		control: meshtest.NewControl(), identities: meshtest.NewIdentities(t), registry: prometheus.NewRegistry(), lines: &logged{}}
	limits := serving.DefaultLimits
	limits.Await = nettest.Wait
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), w.lines), &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.factory = &Factory{Control: w.control, Identities: w.identities, Registry: inbound.NewRegistry(w.control), Pool: tunnel.NewPool(),
		Reporter: telemetry.New(w.registry), Limits: limits, Log: log}
	done := make(chan struct{}, 3)
	for _, run := range []func(context.Context){w.factory.Registry.Run, w.factory.Watch,
		func(ctx context.Context) { w.factory.Reporter.Run(ctx, log) }} {
		go func() { run(ctx); done <- struct{}{} }()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-done
		}
	})
	return w
}

// serve starts the proxy of a pod.
func (w *world) serve(pod *nettest.Pod, name string) *instance {
	w.t.Helper()
	fd, err := pod.Duplicate()
	if err != nil {
		w.t.Fatal(err)
	}
	namespace, err := sockets.NewNamespace(fd)
	if err != nil {
		w.t.Fatal(err)
	}
	started, err := w.factory.Start(mesh.Pod{UID: name, Name: name, Namespace: "shop", ServiceAccount: name}, namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	i := started.(*instance)
	w.t.Cleanup(i.close)
	return i
}

// openWorld returns a world that lets everything in and serves both pods, and what serves the server.
func openWorld(t *testing.T) (*world, *instance) {
	t.Helper()
	w := newWorld(t)
	w.open()
	w.serve(w.client, "client")
	return w, w.serve(w.server, "server")
}

// open lets everything in, and sends what goes to the server through a tunnel.
func (w *world) open() {
	w.control.Set(func(s *meshtest.State) {
		s.Ready = true
		s.Members[w.server.V4], s.Members[w.client.V4] = true, true
		s.Inbound = func(mesh.Pod, mesh.Connection) mesh.Decision { return mesh.Decision{Allowed: true} }
		s.Outbound = w.tunnelled
	})
}

func (w *world) tunnelled(_ mesh.Pod, destination netip.AddrPort) mesh.Route {
	if destination.Addr() != w.server.V4 && destination.Addr() != w.server.V6 {
		return mesh.Route{Action: mesh.PassThrough}
	}
	return mesh.Route{Action: mesh.Tunnel, Target: destination, Gateway: netip.AddrPortFrom(destination.Addr(), sockets.TunnelPort),
		Accepted: []string{"spiffe://" + serverIdentity}}
}

// greeter answers each connection with the address that it sees, and then echoes.
func greeter(t *testing.T, namespace *sockets.Namespace, address string) {
	t.Helper()
	listener := nettest.Listen(t, namespace, address)
	go func() {
		for {
			connection, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				if _, err := io.WriteString(connection, connection.RemoteAddr().(*net.TCPAddr).IP.String()+"\n"); err != nil {
					return
				}
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
}

// greeted dials and returns the greeting.
func greeted(t *testing.T, from *sockets.Namespace, address string) (net.Conn, string, error) {
	t.Helper()
	connection, err := nettest.Dial(t, from, "tcp", address)
	if err != nil {
		return nil, "", err
	}
	var text strings.Builder
	buffer := make([]byte, 1)
	for {
		if _, err := connection.Read(buffer); err != nil {
			return connection, text.String(), err
		}
		if buffer[0] == '\n' {
			return connection, text.String(), nil
		}
		text.Write(buffer)
	}
}

func echo(t *testing.T, connection net.Conn, text string) error {
	t.Helper()
	if _, err := io.WriteString(connection, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(connection, got); err != nil {
		return err
	}
	if string(got) != text {
		t.Errorf("echo %q", got)
	}
	return nil
}

// refused expects a connection that ends with an error before the application said anything.
func refused(t *testing.T, from *sockets.Namespace, address string) {
	t.Helper()
	if _, text, err := greeted(t, from, address); text != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: got %q, %v; want a reset", address, text, err)
	}
}
