package pods

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
)

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// sized is a full and a short measure: go test -short for every commit.
func sized(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

func TestManyConnections(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	if _, _, err := greeted(t, w.client.Namespace, address); err != nil {
		t.Fatal(err)
	}
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	before := memory.HeapInuse + memory.StackInuse
	count := sized(1000, 200)
	connections := make([]net.Conn, count)
	var group sync.WaitGroup
	for i := range connections {
		group.Go(func() {
			connection, _, err := greeted(t, w.client.Namespace, address)
			if err == nil {
				err = echo(t, connection, fmt.Sprintf("connection %d", i))
			}
			if err != nil {
				t.Error(err)
			}
			connections[i] = connection
		})
	}
	group.Wait()
	runtime.GC()
	runtime.ReadMemStats(&memory)
	t.Logf("%d connections, both proxies and both applications in one process: %d KiB for each, %d tunnels, %d goroutines", count,
		(memory.HeapInuse+memory.StackInuse-before)/uint64(count)>>10, w.factory.Pool.Size(), runtime.NumGoroutine())
	if tunnels := w.factory.Pool.Size(); tunnels > count/50 {
		t.Errorf("%d tunnels for %d connections", tunnels, count)
	}
	for _, connection := range connections {
		if connection != nil {
			_ = connection.Close()
		}
	}
	nettest.Until(t, "descriptors and goroutines return", func() bool {
		runtime.GC() // closes the pipes of splice that are pooled
		return descriptors(t) <= fds+40 && runtime.NumGoroutine() <= goroutines+60
	})
}

// send writes what a seed makes, and returns its hash.
func send(to io.Writer, seed byte, size int) ([]byte, error) {
	hash, source := sha256.New(), rand.NewChaCha8([32]byte{seed})
	_, err := io.CopyN(io.MultiWriter(to, hash), source, int64(size))
	return hash.Sum(nil), err
}

// received answers each connection with the hash of what it sent.
func received(t *testing.T, listener net.Listener) {
	t.Helper()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				hash := sha256.New()
				if _, err := io.Copy(hash, connection); err == nil {
					_, _ = connection.Write(hash.Sum(nil))
				}
			}()
		}
	}()
}

func transfer(t *testing.T, w *world, address string, size int) {
	t.Helper()
	connection, err := nettest.Dial(t, w.client.Namespace, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	want, err := send(connection, 7, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(connection)
	if err != nil || string(got) != string(want) {
		t.Errorf("the hash differs, or %v", err)
	}
	t.Logf("%d MiB in %v", size>>20, time.Since(began).Round(time.Millisecond))
}

func TestMuchThroughOneConnection(t *testing.T) {
	w, _ := openWorld(t)
	inside, outside := netip.AddrPortFrom(w.server.V4, 8080).String(), netip.AddrPortFrom(w.client.Gateway, 9000).String()
	received(t, nettest.Listen(t, w.server.Namespace, inside))
	received(t, nettest.Listen(t, w.network.Router, outside))
	t.Run("tunnel", func(t *testing.T) { transfer(t, w, inside, sized(1<<30, 64<<20)) })
	t.Run("pass-through", func(t *testing.T) { transfer(t, w, outside, sized(1<<30, 64<<20)) })
}

func TestPacketLoss(t *testing.T) {
	w, _ := openWorld(t)
	w.network.Lose("0.01")
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	received(t, nettest.Listen(t, w.server.Namespace, address))
	transfer(t, w, address, sized(32<<20, 4<<20))
}

// A dial that gets no answer stalls nobody else, and ends by its own bound.
func TestSlowDialBesideAFastOne(t *testing.T) {
	w := newWorld(t)
	w.factory.Limits.Connect = 2 * time.Second
	w.open()
	nowhere := netip.AddrPortFrom(w.client.Gateway, 8080)
	w.control.Set(func(s *meshtest.State) {
		inner := s.Outbound
		s.Outbound = func(pod mesh.Pod, destination netip.AddrPort) mesh.Route {
			if destination != nowhere {
				return inner(pod, destination)
			}
			silent := netip.MustParseAddr("10.99.1.77") // nobody has it
			return mesh.Route{Action: mesh.Tunnel, Target: netip.AddrPortFrom(silent, 80), Gateway: netip.AddrPortFrom(silent, 15008),
				Accepted: []string{"spiffe://" + serverIdentity}}
		}
	})
	w.serve(w.client, "client")
	w.serve(w.server, "server")
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { refused(t, w.client.Namespace, nowhere.String()) })
	}
	for range 20 {
		connection, _, err := greeted(t, w.client.Namespace, address)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = connection.Close()
	}
	group.Wait()
}

// A server that speaks first, and a client that never does.
func TestServerSpeaksFirst(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 3306).String()
	listener := nettest.Listen(t, w.server.Namespace, address)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(connection, "banner")
			_ = connection.Close()
		}
	}()
	connection, err := nettest.Dial(t, w.client.Namespace, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(connection); err != nil || string(text) != "banner" {
		t.Errorf("%q, %v", text, err)
	}
}

// Nothing listens at the application: the client sees an error, whether through a tunnel or not.
func TestNoApplication(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	refused(t, w.client.Namespace, address)
	refused(t, w.network.Router, address)
	refused(t, w.client.Namespace, netip.AddrPortFrom(w.client.Gateway, 1).String())
}
