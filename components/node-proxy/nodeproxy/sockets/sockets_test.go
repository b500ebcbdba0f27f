package sockets_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/sockets"
)

// greet answers each connection with the address that it sees.
func greet(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(connection, connection.RemoteAddr().(*net.TCPAddr).IP.String())
		_ = connection.Close()
	}
}

func read(t *testing.T, connection net.Conn) string {
	t.Helper()
	_ = connection.SetDeadline(time.Now().Add(nettest.Wait))
	text, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The rules of istio-cni in a pod: who is redirected, what the original destination is, and whom the application sees.
func TestRedirectedConnections(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{})
	for name, address := range map[string]struct{ own, outside, any netip.Addr }{
		"IPv4": {pod.V4, pod.Gateway, netip.IPv4Unspecified()},
		"IPv6": {pod.V6, netip.MustParseAddr("fd00:99:1::1"), netip.IPv6Unspecified()},
	} {
		t.Run(name, func(t *testing.T) {
			application, world := netip.AddrPortFrom(address.own, 8080), netip.AddrPortFrom(address.outside, 9000)
			go greet(nettest.Listen(t, pod.Namespace, application.String()))
			go greet(nettest.Listen(t, network.Router, world.String()))
			listener := func(port uint16) *net.TCPListener {
				l, err := pod.Listen(netip.AddrPortFrom(address.any, port))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				return l
			}
			plaintext, outbound := listener(sockets.PlaintextPort), listener(sockets.OutboundPort)
			accept := func(l *net.TCPListener, want netip.AddrPort) *net.TCPConn {
				_ = l.SetDeadline(time.Now().Add(nettest.Wait))
				connection, err := l.AcceptTCP()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = connection.Close() })
				if got, err := sockets.OriginalDestination(connection); err != nil || got != want {
					t.Errorf("original destination %s, %v; want %s", got, err, want)
				}
				return connection
			}
			ctx, cancel := context.WithTimeout(context.Background(), nettest.Wait)
			defer cancel()

			if _, err := nettest.Dial(t, network.Router, "tcp", application.String()); err != nil {
				t.Fatal(err)
			}
			_, client := sockets.Ends(accept(plaintext, application))
			upstream, err := pod.Dial(ctx, client.Addr(), application)
			if err != nil {
				t.Fatal(err)
			}
			if seen := read(t, upstream); seen != address.outside.String() {
				t.Errorf("the application saw %s, not its client", seen)
			}

			if _, err := nettest.Dial(t, pod.Namespace, "tcp", world.String()); err != nil {
				t.Fatal(err)
			}
			accept(outbound, world)
			if upstream, err = pod.Dial(ctx, netip.Addr{}, world); err != nil {
				t.Fatal(err)
			}
			if seen := read(t, upstream); seen != address.own.String() {
				t.Errorf("the world saw %s, not the pod", seen)
			}

			direct, err := nettest.Dial(t, pod.Namespace, "tcp", netip.AddrPortFrom(address.own, sockets.OutboundPort).String())
			if err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
			connection, err := outbound.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if got, err := sockets.OriginalDestination(connection); !errors.Is(err, sockets.ErrNotRedirected) {
				t.Errorf("a call to the proxy's own port has the original destination %s, %v", got, err)
			}
		})
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{NoRules: true})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	// An address of the pod's own network that nobody has: no answer, and no error for a second.
	_, err := pod.Dial(ctx, netip.Addr{}, netip.MustParseAddrPort("10.99.1.77:80"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err = pod.Dial(context.Background(), netip.Addr{}, netip.AddrPortFrom(pod.Gateway, 1))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

func TestNamespaceWithoutIPv6(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{NoIPv6: true})
	if _, err := pod.ListenPacket(netip.MustParseAddrPort("[::1]:15053")); !sockets.NoIPv6(err) {
		t.Errorf("got %v", err)
	}
}

func TestTwoProxiesShareAPort(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{})
	for range 2 {
		listener, err := pod.Listen(netip.MustParseAddrPort("0.0.0.0:15008"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
}

// No thread of this process is left in a pod's namespace, whatever was done in it.
func TestThreadsReturn(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{})
	runtime.GC()
	for range 200 {
		if err := pod.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var stat unix.Stat_t
		if unix.Stat("/proc/self/task/"+task.Name()+"/ns/net", &stat) == nil && stat.Ino == pod.Inode() {
			t.Errorf("thread %s is in the pod's namespace", task.Name())
		}
	}
	if err := pod.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pod.Do(func() error { return nil }); !errors.Is(err, sockets.ErrNamespaceClosed) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyNetworkNamespacesAreTaken(t *testing.T) {
	for _, path := range []string{"/dev/null", "/proc/self/ns/mnt"} {
		if _, err := sockets.OpenNamespace(path); err == nil {
			t.Errorf("%s was taken for a network namespace", path)
		}
	}
}

// Many at once do not make as many threads: the runtime never gives one back, and ends the process at 10,000.
func TestThreadsAreBounded(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{NoRules: true})
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	before := threads()
	var group sync.WaitGroup
	for range 300 {
		group.Go(func() {
			err := pod.Do(func() error {
				pause := unix.NsecToTimespec(int64(100 * time.Millisecond))
				return unix.Nanosleep(&pause, nil)
			})
			if err != nil && !errors.Is(err, unix.EINTR) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if more := threads() - before; more > 100 {
		t.Errorf("%d more threads", more)
	}
}

// The application can listen on a port that the kernel has given to a connection of the proxy.
func TestPortsOfConnectionsStayFreeForTheApplication(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{})
	world := netip.AddrPortFrom(pod.Gateway, 9000)
	nettest.Listen(t, network.Router, world.String())
	connection, err := pod.Dial(context.Background(), netip.Addr{}, world)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	port := connection.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	nettest.Listen(t, pod.Namespace, netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
}
