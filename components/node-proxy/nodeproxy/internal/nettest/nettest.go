// Package nettest builds, for tests, a node of network namespaces: pods behind a router, with the redirection rules of istio-cni.
package nettest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bookstore.platform/istio/nodeproxy/sockets"
)

// Wait bounds whatever a test waits for; the machine may be busy.
const Wait = 20 * time.Second

// Network is a router with pods around it.
type Network struct {
	t      testing.TB
	Router *sockets.Namespace
	pods   int
}

// Pod is a network namespace with rules.
type Pod struct {
	*sockets.Namespace
	V4, V6 netip.Addr
	// Gateway is the router's address in the pod's network: a place outside of the mesh.
	Gateway netip.Addr
}

// Options say what a pod's namespace is like.
type Options struct {
	NoIPv6  bool // switched off by sysctl
	NoRules bool // not redirected
}

// Need skips the test, and says why, where namespaces cannot be made.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	for _, command := range []string{"ip", "iptables-restore", "ip6tables-restore"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("%s is not installed", command)
		}
	}
}

// New makes a router without pods.
func New(t testing.TB) *Network {
	t.Helper()
	Need(t)
	network := &Network{t: t, Router: namespace(t)}
	run(t, network.Router, "", "ip", "link", "set", "lo", "up")
	err := network.Router.Do(func() error {
		for _, file := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return network
}

// Pod adds a pod.
func (n *Network) Pod(options Options) *Pod {
	n.t.Helper()
	n.pods++
	pod := &Pod{Namespace: namespace(n.t), V4: netip.MustParseAddr(fmt.Sprintf("10.99.%d.2", n.pods)),
		V6: netip.MustParseAddr(fmt.Sprintf("fd00:99:%d::2", n.pods)), Gateway: netip.MustParseAddr(fmt.Sprintf("10.99.%d.1", n.pods))}
	link := fmt.Sprintf("v%d", n.pods)
	var path string
	if err := pod.Path(func(p string) { path = p }); err != nil {
		n.t.Fatal(err)
	}
	script := strings.NewReplacer("LINK", link, "PATH", path, "N", fmt.Sprint(n.pods))
	run(n.t, n.Router, "", "sh", "-ec", script.Replace(`ip link add LINK type veth peer name eth0 netns PATH
		ip addr add 10.99.N.1/24 dev LINK; ip -6 addr add fd00:99:N::1/64 dev LINK nodad; ip link set LINK up`))
	six := "ip -6 addr add fd00:99:N::2/64 dev eth0 nodad"
	if options.NoIPv6 {
		six = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
	}
	run(n.t, pod.Namespace, "", "sh", "-ec", script.Replace("ip link set lo up; "+six+`
		ip addr add 10.99.N.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.99.N.1
		ip rule add fwmark 0x111/0xfff pref 32764 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100`))
	if !options.NoIPv6 {
		run(n.t, pod.Namespace, "", "sh", "-ec", script.Replace(`ip -6 route add default via fd00:99:N::1
			ip -6 rule add fwmark 0x111/0xfff pref 32764 lookup 100; ip -6 route add local ::/0 dev lo table 100`))
	}
	if !options.NoRules {
		run(n.t, pod.Namespace, rules("169.254.7.127", "127.0.0.1/32"), "iptables-restore", "--noflush")
		run(n.t, pod.Namespace, rules("e9ac:1e77:90ca:399f:4d6d:ece2:2f9b:3164", "::1/128"), "ip6tables-restore", "--noflush")
	}
	return pod
}

// Lose drops that part of what the router forwards.
func (n *Network) Lose(probability string) {
	n.t.Helper()
	run(n.t, n.Router, "", "iptables", "-A", "FORWARD", "-m", "statistic", "--mode", "random", "--probability", probability, "-j", "DROP")
}

// rules are those that istio-cni installs, with the capture of DNS.
func rules(probe, loopback string) string {
	return strings.NewReplacer("PROBE", probe, "LOOPBACK", loopback).Replace(`*mangle
-N ISTIO_PRERT
-N ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
-N ISTIO_PRERT
-N ISTIO_OUTPUT
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -s PROBE -p tcp -m tcp -j ACCEPT
-A ISTIO_OUTPUT -d PROBE -p tcp -m tcp -j ACCEPT
-A ISTIO_PRERT ! -d LOOPBACK -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark 0x539/0xfff -m udp --dport 53 -j REDIRECT --to-port 15053
-A ISTIO_OUTPUT ! -d LOOPBACK -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d LOOPBACK -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d LOOPBACK -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
*raw
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -p udp -m mark --mark 0x539/0xfff -m udp --dport 53 -j CT --zone 1
-A ISTIO_PRERT -p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1
COMMIT
`)
}

// namespace makes a network namespace on a thread that ends afterwards.
func namespace(t testing.TB) *sockets.Namespace {
	t.Helper()
	type made struct {
		namespace *sockets.Namespace
		err       error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{err: err}
			return
		}
		namespace, err := sockets.OpenNamespace("/proc/thread-self/ns/net")
		result <- made{namespace, err}
	}()
	m := <-result
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { _ = m.namespace.Close() })
	return m.namespace
}

func run(t testing.TB, namespace *sockets.Namespace, input string, command ...string) {
	t.Helper()
	err := namespace.Do(func() error {
		process := exec.Command(command[0], command[1:]...)
		process.Stdin = bytes.NewBufferString(input)
		if output, err := process.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, output)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Listen listens as an application does, without the proxy's mark.
func Listen(t testing.TB, namespace *sockets.Namespace, address string) *net.TCPListener {
	t.Helper()
	var listener net.Listener
	err := namespace.Do(func() (err error) {
		config := net.ListenConfig{}
		config.SetMultipathTCP(false)
		listener, err = config.Listen(context.Background(), family("tcp", address), address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.(*net.TCPListener)
}

// ListenPacket receives as an application does.
func ListenPacket(t testing.TB, namespace *sockets.Namespace, address string) net.PacketConn {
	t.Helper()
	var connection net.PacketConn
	err := namespace.Do(func() (err error) {
		connection, err = net.ListenPacket(family("udp", address), address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// Dial connects as an application does; network is tcp or udp.
func Dial(t testing.TB, namespace *sockets.Namespace, network, address string) (net.Conn, error) {
	t.Helper()
	var connection net.Conn
	err := namespace.Do(func() (err error) {
		dialer := net.Dialer{Timeout: Wait}
		dialer.SetMultipathTCP(false)
		connection, err = dialer.Dial(family(network, address), address)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection, connection.SetDeadline(time.Now().Add(Wait))
}

func family(network, address string) string {
	if strings.HasPrefix(address, "[") {
		return network + "6"
	}
	return network + "4"
}

// Until polls, bounded, until something holds.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(Wait)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Wait, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
