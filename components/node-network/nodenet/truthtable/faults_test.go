package truthtable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"bookstore.platform/kubernetes/nodenet"
)

const (
	in  = networkingv1.PolicyTypeIngress
	out = networkingv1.PolicyTypeEgress
	// How often an agent is restarted under forbidden traffic. Deleting and
	// creating the base chains instead let a packet through in one run of three.
	takeovers = 20
)

func populated(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	populate(t, l, source{rand.New(rand.NewPCG(7, 7))})
	return l
}

// TestRulesStandWithoutAgents kills both agents: the rules stay, also while
// the policies change, and the next agents take over without a gap.
func TestRulesStandWithoutAgents(t *testing.T) {
	l := populated(t)
	open := l.expected()
	l.setPolicy(t, denyAll("red-shop", in, out))
	denied := l.expected()
	l.converge(t, "deny", open, denied)
	for _, m := range l.nodes {
		m.kill()
	}
	l.converge(t, "killed agents", denied, denied)
	l.removePolicy(t, denyAll("red-shop"))
	l.setPolicy(t, denyAll("data", in))
	changed := l.expected()
	l.converge(t, "a change without agents", denied, denied)

	// Agents take the table over at their start: connections that no state lets
	// pass are tried all the while.
	for _, node := range []string{"node-1", "node-2"} {
		l.start(t, node)
	}
	l.converge(t, "new agents", denied, changed)
}

// TestTakeoverLeavesNoGap restarts agents over and over while forbidden
// packets are sent without a pause.
func TestTakeoverLeavesNoGap(t *testing.T) {
	l := populated(t)
	open := l.expected()
	l.setPolicy(t, denyAll("red-shop", in))
	l.setPolicy(t, denyAll("blue-shop", in))
	l.setPolicy(t, denyAll("data", in))
	l.converge(t, "deny", open, l.expected())
	target := l.ends["pod-0"]
	var sink net.PacketConn
	l.spaces["pod-0"].do(t, func() (err error) {
		sink, err = net.ListenPacket("udp4", netip.AddrPortFrom(target.address, 7777).String())
		return err
	})
	var sender net.Conn
	l.spaces["pod-2"].do(t, func() (err error) {
		sender, err = net.Dial("udp4", netip.AddrPortFrom(target.address, 7777).String())
		return err
	})
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				sent <- n
				return
			default:
				if _, err := sender.Write([]byte("forbidden")); err == nil {
					n++
				}
			}
		}
	}()
	for range takeovers {
		l.nodes["node-1"].kill()
		l.start(t, "node-1")
	}
	close(stop)
	n := <-sent
	if err := sink.SetReadDeadline(time.Now().Add(refusedAfter)); err != nil {
		t.Fatal(err)
	}
	if _, from, err := sink.ReadFrom(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a forbidden packet of %d arrived from %v (error %v)", n, from, err)
	}
	t.Logf("%d forbidden packets sent during %d takeovers", n, takeovers)
	if err := errors.Join(sink.Close(), sender.Close()); err != nil {
		t.Error(err)
	}
}

// TestEstablishedConnectionsPass holds a connection open across a new deny.
func TestEstablishedConnectionsPass(t *testing.T) {
	l := populated(t)
	before := l.expected()
	for _, pair := range [][2]string{{"pod-0", "pod-2"}, {"pod-0", "pod-1"}} {
		var connection net.Conn
		l.spaces[pair[0]].do(t, func() (err error) {
			connection, err = net.DialTimeout("tcp4", netip.AddrPortFrom(l.ends[pair[1]].address, 80).String(), passesWithin)
			return err
		})
		l.setPolicy(t, denyAll(l.ends[pair[1]].pod.Namespace, in, out))
		want := l.expected()
		l.converge(t, "deny under an open connection", before, want)
		before = want
		if err := connection.SetDeadline(time.Now().Add(passesWithin)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := fmt.Fprintf(connection, "message %d", i); err != nil {
				t.Fatalf("%v: %v", pair, err)
			}
			if n, err := connection.Read(make([]byte, 64)); err != nil || n != len("message 0") {
				t.Fatalf("%v: %d bytes came back, error %v", pair, n, err)
			}
		}
		if err := connection.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestUnknownPodIsClosed follows one pod from before its admission to after
// its removal; no policy speaks about it, so only admission opens it.
func TestUnknownPodIsClosed(t *testing.T) {
	l := populated(t)
	old := l.expected()
	pod := l.newPod(t, "node-1", "data", "late", 40, map[string]string{"app": "a"}, nil)
	all := l.expected()
	closed := maps.Clone(all)
	for c := range closed {
		// The node's own processes reach even an unknown pod, but hear nothing.
		if c.from == "late" || c.to == "late" {
			closed[c] = verdict{}
		}
	}
	l.converge(t, "a pod nobody announced", old, closed)

	err := l.register("late")
	if err == nil || !strings.Contains(err.Error(), "data/late") {
		t.Fatalf("an unknown pod was admitted, or the error does not name it: %v", err)
	}
	l.converge(t, "a refused admission", closed, closed)

	l.create(t, pod)
	if err := l.register("late"); err != nil {
		t.Fatal(err)
	}
	l.converge(t, "admission", closed, all)
	ctx, cancel := context.WithTimeout(t.Context(), settles)
	defer cancel()
	for range 2 { // a repeated DEL is no error
		if err := nodenet.Unregister(ctx, l.socket("late"), "sandbox-late"); err != nil {
			t.Fatal(err)
		}
	}
	l.converge(t, "removal", all, closed)
}

// TestNoWindowAtStart: when the plugin's ADD returns, the pod's policies are
// in force, also if the agent hears of the policy last.
func TestNoWindowAtStart(t *testing.T) {
	l := populated(t)
	for i := range 5 {
		name := fmt.Sprint("fresh-", i)
		namespace := fmt.Sprint("new-", i)
		l.setNamespace(t, namespace, map[string]string{"kubernetes.io/metadata.name": namespace})
		l.create(t, l.newPod(t, "node-1", namespace, name, byte(50+i), nil, nil))
		l.policyNews.Lock()
		l.setPolicy(t, denyAll(namespace, in, out))
		admitted := make(chan error, 1)
		go func() { admitted <- l.register(name) }()
		select {
		case err := <-admitted:
			t.Errorf("%s was admitted before its policy was seen (error %v)", name, err)
			admitted <- nil
		case <-time.After(refusedAfter):
		}
		l.policyNews.Unlock()
		if err := <-admitted; err != nil {
			t.Fatal(err)
		}
		var cells []cell
		for c := range l.expected() {
			// The node itself always reaches its pods.
			if c.from == name || (c.to == name && c.from != "node-1") {
				cells = append(cells, c)
			}
		}
		for c, passed := range l.run(t, cells, nil) {
			if passed {
				t.Errorf("%s passed right after ADD", c)
			}
		}
	}
}

// TestForeignAddressIsDropped: a pod that may send anything pretends to be
// another one that is allowed to reach the target.
func TestForeignAddressIsDropped(t *testing.T) {
	l := populated(t)
	thief, owner, target := l.ends["pod-0"], l.ends["pod-2"], l.ends["pod-4"]
	var sink net.PacketConn
	l.spaces[target.name].do(t, func() (err error) {
		sink, err = net.ListenPacket("udp4", netip.AddrPortFrom(target.address, 7777).String())
		return err
	})
	send := func(from netip.Addr) {
		l.spaces[thief.name].do(t, func() error {
			dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
			connection, err := dialer.Dial("udp4", netip.AddrPortFrom(target.address, 7777).String())
			if err != nil {
				return err
			}
			_, err = connection.Write([]byte(from.String()))
			return errors.Join(err, connection.Close())
		})
	}
	setAddress(t, l.spaces[thief.name], "eth0", owner.address.String()+"/32")
	send(owner.address)
	send(thief.address) // follows on the same path, so nothing is left under way once it is there
	buffer := make([]byte, 64)
	if err := sink.SetReadDeadline(time.Now().Add(passesWithin)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sink.ReadFrom(buffer); err != nil || string(buffer[:n]) != thief.address.String() {
		t.Errorf("received %q (error %v), want only the packet from %s", buffer[:n], err, thief.address)
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
}

// TestFlushedRulesComeBack: another program deletes the table.
func TestFlushedRulesComeBack(t *testing.T) {
	l := populated(t)
	before := l.expected()
	l.setPolicy(t, denyAll("red-shop", in))
	want := l.expected()
	l.converge(t, "deny", before, want)
	l.spaces["node-1"].do(t, func() error {
		output, err := exec.Command("nft", "delete", "table", "inet", nodenet.Table).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	})
	l.converge(t, "a deleted table", nil, want)
}

// TestNodesComeAndGo: routes follow the nodes, and the CNI configuration is
// restored with what others appended.
func TestNodesComeAndGo(t *testing.T) {
	l := populated(t)
	routes := func() int { return l.nodes["node-1"].agent.Status().Routes }
	list := func() (text string) {
		l.spaces["node-1"].do(t, func() error {
			output, err := exec.Command("ip", "-4", "route", "show", "proto", "98").Output()
			text = string(output)
			return err
		})
		return text
	}
	if got := list(); routes() != 1 || !strings.HasPrefix(got, "10.244.2.0/24 via 172.31.0.12") {
		t.Fatalf("routes: %q", got)
	}
	if err := l.client.CoreV1().Nodes().Delete(t.Context(), "node-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, settles, func() error {
		if got := list(); got != "" {
			return fmt.Errorf("stale routes: %q", got)
		}
		return nil
	})
	file := filepath.Join(l.nodes["node-1"].dir, nodenet.ConflistName)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, settles, func() error {
		_, err := os.Stat(file)
		return err
	})
}
