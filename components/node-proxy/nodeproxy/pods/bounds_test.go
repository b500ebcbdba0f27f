package pods

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/sockets"
)

// Whoever fills what may come into a pod does not take what the pod itself needs.
func TestWhatComesInLeavesRoomForWhatGoesOut(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.factory.Limits.Connections = 1
	w.serve(w.server, "server")
	inside, outside := netip.AddrPortFrom(w.server.V4, 8080).String(), netip.AddrPortFrom(w.server.Gateway, 9000).String()
	greeter(t, w.server.Namespace, inside)
	greeter(t, w.network.Router, outside)
	if _, _, err := greeted(t, w.network.Router, inside); err != nil {
		t.Fatal(err)
	}
	refused(t, w.network.Router, inside)
	if _, _, err := greeted(t, w.server.Namespace, outside); err != nil {
		t.Errorf("connections that came in stop those of the pod: %v", err)
	}
}

// Peers that connect and say nothing, before any certificate, take a bounded number of connections and give them back.
func TestSilentHandshakesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.factory.Limits.Tunnels = 1
	w.serve(w.client, "client")
	w.serve(w.server, "server")
	address := netip.AddrPortFrom(w.server.V4, sockets.TunnelPort).String()
	greeter(t, w.server.Namespace, netip.AddrPortFrom(w.server.V4, 8080).String())
	held, err := nettest.Dial(t, w.network.Router, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	second, err := nettest.Dial(t, w.network.Router, "tcp", address)
	if err == nil {
		if err := second.SetDeadline(time.Now().Add(nettest.Wait / 4)); err != nil { // the handshake's own bound is longer
			t.Fatal(err)
		}
		_, err = second.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a silent connection above the bound: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	nettest.Until(t, "a tunnel once the silent one is gone", func() bool {
		_, _, err := greeted(t, w.client.Namespace, netip.AddrPortFrom(w.server.V4, 8080).String())
		return err == nil
	})
}
