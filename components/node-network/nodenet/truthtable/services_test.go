package truthtable

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"bookstore.platform/kubernetes/nodenet"
)

const (
	servedAddress = "10.96.0.10" // of a Service with one port, 80
	strangers     = "10.96.9.9"  // no Service; something outside answers there
	closedPort    = 30080
	openPort      = 30081
	internalPort  = 80
)

// translation is what kube-proxy does, told in nft: it translates the declared port
// of a Service and two node ports to a pod, and gives such connections the
// node's address.
const translation = `table ip services {
  chain translate {
    ip daddr ` + servedAddress + ` tcp dport 80 dnat to %[1]s:80
    fib daddr type local tcp dport { 30080, 30081 } ct mark set 0x4000 dnat to %[1]s:80
  }
  chain prerouting { type nat hook prerouting priority dstnat; jump translate; }
  chain output { type nat hook output priority -100; jump translate; }
  chain postrouting { type nat hook postrouting priority srcnat; ct mark 0x4000 masquerade fully-random; }
}`

// served is a lab whose nodes translate, whose default route leads to a
// stranger that answers at addresses of Services, and whose agents refuse.
func served(t *testing.T, change func(*nodenet.Config)) *lab {
	t.Helper()
	l := newLab(t)
	l.settings = change
	populateServed(t, l)
	stranger := l.spaces["outside-1"]
	for _, address := range []string{servedAddress, strangers} {
		setAddress(t, stranger, "lo", address+"/32")
		serve(t, stranger, netip.MustParseAddr(address), []int{80, 443})
	}
	for _, node := range []string{"node-1", "node-2"} {
		setRoute(t, l.spaces[node], "eth0", "0.0.0.0/0", l.ends["outside-1"].address.String())
		l.spaces[node].do(t, func() error {
			command := exec.Command("nft", "-f", "-")
			command.Stdin = strings.NewReader(fmt.Sprintf(translation, l.ends["pod-3"].address))
			if output, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, output)
			}
			return nil
		})
	}
	return l
}

// populateServed puts four pods on two nodes and starts the agents.
func populateServed(t *testing.T, l *lab) {
	t.Helper()
	l.setNamespace(t, "data", nil)
	for i := range 4 {
		l.create(t, l.newPod(t, fmt.Sprint("node-", i%2+1), "data", fmt.Sprint("pod-", i), byte(10+i), nil, nil))
	}
	for _, node := range []string{"node-1", "node-2"} {
		l.start(t, node)
	}
	for i := range 4 {
		if err := l.register(fmt.Sprint("pod-", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// fate tries a TCP connection: connected, refused (at once), or silent.
func (l *lab) fate(t *testing.T, from, address string, port int) string {
	t.Helper()
	result := ""
	l.spaces[from].do(t, func() error {
		connection, err := net.DialTimeout("tcp4", net.JoinHostPort(address, fmt.Sprint(port)), time.Second)
		switch {
		case err == nil:
			result = "connected"
			return connection.Close()
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
			result = "refused"
		case timedOut(err):
			result = "silent"
		default:
			return err
		}
		return nil
	})
	return result
}

func timedOut(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

func (l *lab) expectFates(t *testing.T, wanted map[string]string) {
	t.Helper()
	for key, want := range wanted {
		var from, address string
		var port int
		if _, err := fmt.Sscan(key, &from, &address, &port); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if got := l.fate(t, from, address, port); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

// TestUntranslatedServiceAddresses: a declared port is served, everything else
// of the range is refused on the node, for pods and for the node itself.
func TestUntranslatedServiceAddresses(t *testing.T) {
	l := served(t, func(c *nodenet.Config) { c.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/16") })
	for _, from := range []string{"pod-0", "pod-1", "node-1", "node-2"} {
		l.expectFates(t, map[string]string{
			from + " " + servedAddress + " 80":  "connected",
			from + " " + servedAddress + " 443": "refused",
			from + " " + strangers + " 80":      "refused",
		})
	}
	// UDP and an established flow are no way around: the answer would come from the stranger.
	l.spaces["pod-0"].do(t, func() error {
		connection, err := net.Dial("udp4", net.JoinHostPort(strangers, "80"))
		if err != nil {
			return err
		}
		for range 3 {
			if err := connection.SetDeadline(time.Now().Add(refusedAfter)); err != nil {
				return err
			}
			_, _ = connection.Write([]byte("probe")) // refused: the error of the one before shows here
			if n, err := connection.Read(make([]byte, 64)); err == nil {
				t.Errorf("%d bytes came back from a stranger", n)
			}
		}
		return connection.Close()
	})
}

// TestServiceAddressesLeakUnasked proves that the lab shows the leak.
func TestServiceAddressesLeakUnasked(t *testing.T) {
	l := served(t, nil)
	l.expectFates(t, map[string]string{
		"pod-0 " + servedAddress + " 443": "connected", "node-1 " + strangers + " 80": "connected",
		// And that a node port passes by any node's address.
		fmt.Sprintf("pod-0 %s %d", l.ends["node-2"].address, closedPort): "connected",
	})
}

// TestPodsDoNotReachClosedNodePorts: by no address of any node, while others
// do, and other node ports are open to all.
func TestPodsDoNotReachClosedNodePorts(t *testing.T) {
	l := served(t, func(c *nodenet.Config) { c.ClosedPorts = []uint16{closedPort} })
	node1, node2 := l.ends["node-1"].address.String(), l.ends["node-2"].address.String()
	for _, pod := range []string{"pod-0", "pod-1"} { // one on each node
		for _, address := range []string{node1, node2, "10.244.1.1", "10.244.2.1"} {
			l.expectFates(t, map[string]string{fmt.Sprintf("%s %s %d", pod, address, closedPort): "silent"})
		}
		for _, address := range []string{node1, node2} {
			l.expectFates(t, map[string]string{
				fmt.Sprintf("%s %s %d", pod, address, openPort):                     "connected",
				fmt.Sprintf("%s %s %d", pod, l.ends["pod-3"].address, internalPort): "connected",
			})
		}
	}
	for _, from := range []string{"outside-2", "node-1", "node-2"} {
		for _, address := range []string{node1, node2} {
			l.expectFates(t, map[string]string{fmt.Sprintf("%s %s %d", from, address, closedPort): "connected"})
		}
	}
}

// TestPodsDoNotReachClosedAddresses: nor by a Service that leads there, while
// the nodes do, and pods reach what else is beside the nodes.
func TestPodsDoNotReachClosedAddresses(t *testing.T) {
	closed := netip.MustParseAddr(strangers)
	l := served(t, func(c *nodenet.Config) { c.ClosedAddrs = []netip.Addr{closed} })
	for _, node := range []string{"node-1", "node-2"} {
		l.spaces[node].do(t, func() error {
			return exec.Command("nft", "add", "rule", "ip", "services", "translate", "ip", "daddr", servedAddress,
				"tcp", "dport", "8080", "dnat", "to", strangers+":80").Run()
		})
	}
	for _, pod := range []string{"pod-0", "pod-1"} { // one on each node
		l.expectFates(t, map[string]string{
			pod + " " + strangers + " 80":       "refused",
			pod + " " + strangers + " 443":      "refused",
			pod + " " + servedAddress + " 8080": "refused",
			pod + " " + servedAddress + " 443":  "connected",
		})
	}
	for _, node := range []string{"node-1", "node-2"} {
		l.expectFates(t, map[string]string{node + " " + strangers + " 80": "connected", node + " " + servedAddress + " 8080": "connected"})
	}
}

// TestAnswersMayGoToAnyPort: who calls a pod from a port with the number of a
// closed node port gets an answer.
func TestAnswersMayGoToAnyPort(t *testing.T) {
	l := served(t, func(c *nodenet.Config) { c.ClosedPorts = []uint16{closedPort} })
	target := netip.AddrPortFrom(l.ends["pod-1"].address, internalPort).String()
	l.spaces["node-1"].do(t, func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: l.ends["node-1"].address.AsSlice(), Port: closedPort}, Timeout: passesWithin}
		connection, err := dialer.Dial("tcp4", target)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}
