package truthtable

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// space is a network namespace with one goroutine, bound to a thread inside
// it, that runs what is sent to it.
type space struct {
	handle netns.NsHandle
	jobs   chan func()
}

// newSpace creates an anonymous namespace: it vanishes with the test process.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{jobs: make(chan func())}
	created := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		if s.handle, err = netns.New(); err == nil {
			err = linkUp("lo")
		}
		created <- err
		for job := range s.jobs {
			job()
		}
	}()
	if err := <-created; err != nil {
		t.Fatalf("create a network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(s.jobs)
		if err := s.handle.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// do runs fn inside the namespace and waits for it.
func (s *space) do(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error, 1)
	s.jobs <- func() { done <- fn() }
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// connect lays a cable from namespace a to namespace b, both ends up.
func connect(t *testing.T, a *space, nameA string, b *space, nameB string) {
	t.Helper()
	a.do(t, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = nameA
		cable := &netlink.Veth{LinkAttrs: attributes, PeerName: nameB, PeerNamespace: netlink.NsFd(int(b.handle))}
		if err := netlink.LinkAdd(cable); err != nil {
			return fmt.Errorf("cable %s-%s: %w", nameA, nameB, err)
		}
		return linkUp(nameA)
	})
	b.do(t, func() error { return linkUp(nameB) })
}

func setAddress(t *testing.T, s *space, link, cidr string) {
	t.Helper()
	s.do(t, func() error {
		device, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return netlink.AddrReplace(device, address)
	})
}

// setRoute sets a route by gateway, or directly on the link when gateway is "".
func setRoute(t *testing.T, s *space, link, destination, gateway string) {
	t.Helper()
	s.do(t, func() error {
		device, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		_, prefix, err := net.ParseCIDR(destination)
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: device.Attrs().Index, Dst: prefix, Scope: netlink.SCOPE_LINK}
		if gateway != "" {
			route.Scope, route.Gw = netlink.SCOPE_UNIVERSE, net.ParseIP(gateway)
		}
		return netlink.RouteReplace(route)
	})
}

// switchboard is the network between the nodes and the outside.
func switchboard(t *testing.T) (plug func(s *space, cidr string)) {
	t.Helper()
	board := newSpace(t)
	board.do(t, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "br0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
			return err
		}
		return linkUp("br0")
	})
	ports := 0
	return func(s *space, cidr string) {
		t.Helper()
		ports++
		name := fmt.Sprint("port", ports)
		connect(t, board, name, s, "eth0")
		board.do(t, func() error {
			port, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			bridge, err := netlink.LinkByName("br0")
			if err != nil {
				return err
			}
			return netlink.LinkSetMaster(port, bridge)
		})
		setAddress(t, s, "eth0", cidr)
	}
}

func forwardPackets(t *testing.T, s *space) {
	t.Helper()
	s.do(t, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
}

// plugPod connects a pod the way the ptp CNI plugin does: the node end holds
// the gateway address, and a host route per pod leads to it.
func plugPod(t *testing.T, node, pod *space, veth string, address, gateway netip.Addr) {
	t.Helper()
	connect(t, node, veth, pod, "eth0")
	setAddress(t, node, veth, gateway.String()+"/32")
	setRoute(t, node, veth, address.String()+"/32", "")
	setAddress(t, pod, "eth0", address.String()+"/32")
	setRoute(t, pod, "eth0", gateway.String()+"/32", "")
	setRoute(t, pod, "eth0", "0.0.0.0/0", gateway.String())
}
