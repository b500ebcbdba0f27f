package pods

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/sockets"
)

// Faults that users of ambient meshes met, see FAULTS.md.

// base waits until descriptors and goroutines are what they were, but for a few of the runtime's own.
type base struct{ descriptors, goroutines int }

func measure(t *testing.T) base {
	t.Helper()
	runtime.GC() // closes the pipes of splice that are pooled
	return base{descriptors(t), runtime.NumGoroutine()}
}

func (b base) returns(t *testing.T) {
	t.Helper()
	var now base
	defer func() {
		if t.Failed() {
			t.Logf("before: %+v, now: %+v", b, now)
		}
	}()
	nettest.Until(t, "descriptors and goroutines return", func() bool {
		now = measure(t)
		return now.descriptors <= b.descriptors+10 && now.goroutines <= b.goroutines+10
	})
}

// holder accepts connections, reads each to its end, and closes none before the test says so.
func holder(t *testing.T, namespace *sockets.Namespace, address string) (held func() int, closeAll func()) {
	t.Helper()
	var mutex sync.Mutex
	var connections []net.Conn
	listener := nettest.Listen(t, namespace, address)
	go func() {
		for {
			connection, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			mutex.Lock()
			connections = append(connections, connection)
			mutex.Unlock()
			go func() { _, _ = io.Copy(io.Discard, connection) }()
		}
	}()
	closeAll = func() {
		mutex.Lock()
		defer mutex.Unlock()
		for _, connection := range connections {
			_ = connection.Close()
		}
		connections = nil
	}
	t.Cleanup(closeAll)
	return func() int { mutex.Lock(); defer mutex.Unlock(); return len(connections) }, closeAll
}

// Clients that vanish without a word, some of them after the end of their sending, in front of an application that never closes: the
// proxy gives back all that they held, and serves others.
func TestManyVanishedClients(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.factory.Limits.Copying.Idle, w.factory.Limits.Copying.HalfClosed = 3*time.Second, time.Second
	w.serve(w.server, "server")
	outsider := w.network.Pod(nettest.Options{NoRules: true})
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	held, closeAll := holder(t, w.server.Namespace, address)
	before := measure(t)
	count := sized(2000, 200)
	clients := make([]net.Conn, count)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			connection, err := nettest.Dial(t, outsider.Namespace, "tcp", address)
			if err == nil && i%2 == 0 {
				err = connection.(*net.TCPConn).CloseWrite()
			}
			if err != nil {
				t.Error(err)
				return
			}
			clients[i] = connection
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	w.network.Lose("1")
	for _, connection := range clients {
		_ = connection.Close() // nobody hears of it
	}
	nettest.Until(t, "all connections are left", func() bool { return held() > 0 && w.factory.Registry.Size() == 0 })
	closeAll()
	before.returns(t)
	closeAll() // none may come late
	greeter(t, w.server.Namespace, netip.AddrPortFrom(w.server.V4, 8081).String())
	if _, _, err := greeted(t, w.network.Router, netip.AddrPortFrom(w.server.V4, 8081).String()); err != nil {
		t.Errorf("after them: %v", err)
	}
}

// More connections of one source than there are ports: a port is taken for each destination, not for all of them.
func TestManyConnectionsWithFewPorts(t *testing.T) {
	w, _ := openWorld(t)
	for _, pod := range []*nettest.Pod{w.client, w.server} {
		err := pod.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40099"), 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]struct {
		namespace *sockets.Namespace
		address   netip.Addr
	}{"tunnel": {w.server.Namespace, w.server.V4}, "pass-through": {w.network.Router, w.client.Gateway}} {
		t.Run(name, func(t *testing.T) {
			const destinations, each = 8, 30 // 240 of one source, where 100 ports are
			for port := range uint16(destinations) {
				address := netip.AddrPortFrom(to.address, 9000+port).String()
				greeter(t, to.namespace, address)
				for i := range each {
					connection, _, err := greeted(t, w.client.Namespace, address)
					if err == nil {
						err = echo(t, connection, "hello")
					}
					if err != nil {
						t.Fatalf("connection %d to %s: %v", i, address, err)
					}
				}
			}
		})
	}
}

// A tunnel that waits in the pool when its peer's pod ends is no fault: no line says so, and the next connection makes another tunnel.
func TestPooledTunnelWhosePeerEnds(t *testing.T) {
	w, server := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	complete := func(count int) {
		t.Helper()
		connection, _, err := greeted(t, w.client.Namespace, address)
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(connection); err != nil {
			t.Error(err)
		}
		nettest.Until(t, "both sides tell of the connection", func() bool {
			return strings.Count(w.lines.all(), "connection complete") == 2*count
		})
	}
	complete(1)
	if size := w.factory.Pool.Size(); size != 1 {
		t.Fatalf("%d tunnels are pooled", size)
	}
	server.Stop()
	server.close() // waits for the end
	w.serve(w.server, "server")
	complete(2)
	for line := range strings.Lines(w.lines.all()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") || strings.Contains(line, "error=") {
			t.Errorf("logged as a fault: %s", line)
		}
	}
	if refusals := w.factory.Reporter.Refusals(); refusals != 0 {
		t.Errorf("%d refusals are counted", refusals)
	}
}

// Pods of jobs come, call and go: nothing of them stays.
func TestManyJobs(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.serve(w.server, "server")
	inside, outside := netip.AddrPortFrom(w.server.V4, 8080).String(), netip.AddrPortFrom(w.client.Gateway, 9000).String()
	greeter(t, w.server.Namespace, inside)
	greeter(t, w.network.Router, outside)
	job := func(i int) {
		started := w.serve(w.client, fmt.Sprintf("job-%d", i))
		for _, address := range []string{inside, outside} {
			connection, _, err := greeted(t, w.client.Namespace, address)
			if err == nil {
				err = errors.Join(echo(t, connection, "done"), connection.Close())
			}
			if err != nil {
				t.Errorf("job %d to %s: %v", i, address, err)
			}
		}
		started.Stop()
	}
	job(0)
	nettest.Until(t, "the first one has ended", func() bool { return w.factory.Pool.Size() == 0 && w.factory.Registry.Size() == 0 })
	before := measure(t)
	for i := range sized(100, 30) {
		job(i + 1)
	}
	nettest.Until(t, "tunnels and admissions return", func() bool { return w.factory.Pool.Size() == 0 && w.factory.Registry.Size() == 0 })
	before.returns(t)
}

// A pod that leaves the mesh and joins it again at once, many times: each time it is served soon, and never in the clear.
func TestLeftAndJoinedManyTimes(t *testing.T) {
	w, server := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	for i := range 20 {
		server.Stop()
		// Redirected and not served: refused, neither let through nor left waiting.
		if connection, err := nettest.Dial(t, w.network.Router, "tcp", address); err == nil {
			t.Fatalf("round %d: a pod without its proxy accepts connections (%v)", i, connection.RemoteAddr())
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("round %d: %v, want it refused", i, err)
		}
		server = w.serve(w.server, "server")
		for name, from := range map[string]*sockets.Namespace{"tunnel": w.client.Namespace, "plaintext": w.network.Router} {
			// The tunnel of before may end with the first stream of after: that one is reset.
			nettest.Until(t, fmt.Sprintf("round %d: served by %s", i, name), func() bool {
				_, _, err := greeted(t, from, address)
				return err == nil
			})
		}
	}
}

// A reader that rests for a while stalls its writer, loses nothing and keeps its connection.
func TestSlowReaderInATunnel(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	listener := nettest.Listen(t, w.server.Namespace, address)
	pause := time.Duration(sized(60, 2)) * time.Second
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MiB, far above all windows
	result := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			result <- err
			return
		}
		defer connection.Close()
		<-time.After(pause) // the fault is about the time
		got, err := io.ReadAll(connection)
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("%d bytes arrived, or others than were sent", len(got))
		}
		result <- err
	}()
	connection, err := nettest.Dial(t, w.client.Namespace, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.SetDeadline(time.Now().Add(pause + 2*nettest.Wait)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := connection.Write(data); err != nil {
		t.Fatal(err)
	}
	if time.Since(began) < pause/2 {
		t.Errorf("64 MiB were taken in %v, while nobody read", time.Since(began))
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// The bytes of connections that stay open, as those of pools do, are told at each scrape, on both sides of a tunnel.
func TestBytesOfAnOpenConnectionAreTold(t *testing.T) {
	w, _ := openWorld(t)
	address := netip.AddrPortFrom(w.server.V4, 8080).String()
	greeter(t, w.server.Namespace, address)
	connection, seen, err := greeted(t, w.client.Namespace, address)
	if err != nil {
		t.Fatal(err)
	}
	told := func(received, sent int) func() bool {
		return func() bool {
			families, err := w.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			sums := map[string]int{}
			for _, family := range families {
				for _, metric := range family.GetMetric() {
					sums[family.GetName()] += int(metric.GetCounter().GetValue())
				}
			}
			return sums["istio_tcp_received_bytes_total"] == 2*received && sums["istio_tcp_sent_bytes_total"] == 2*sent
		}
	}
	greeting := len(seen) + 1
	for i := range 3 {
		if err := echo(t, connection, "hello"); err != nil {
			t.Fatal(err)
		}
		nettest.Until(t, "the bytes are told", told(5*(i+1), greeting+5*(i+1)))
	}
	_ = connection.Close()
	nettest.Until(t, "the connection has ended", func() bool { return w.factory.Registry.Size() == 0 })
	nettest.Until(t, "the same bytes are told after its end", told(15, greeting+15))
}
