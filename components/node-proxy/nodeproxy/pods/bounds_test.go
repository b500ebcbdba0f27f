package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
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

// An endpoint that answers nothing at all leaves time for another one.
func TestSilentEndpointLeavesTimeForAnother(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.factory.Limits.Endpoint = 300 * time.Millisecond
	w.network.Lose("1") // between the pods; the router is reached
	alive := netip.AddrPortFrom(w.client.Gateway, 9000)
	greeter(t, w.network.Router, alive.String())
	w.serve(w.client, "client")
	for name, first := range map[string]mesh.Route{
		"plain":  {Action: mesh.Plain, Target: netip.AddrPortFrom(w.server.V4, 8080)},
		"tunnel": w.tunnelled(mesh.Pod{}, netip.AddrPortFrom(w.server.V4, 8080)),
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			w.control.Set(func(s *meshtest.State) {
				s.Outbound = func(mesh.Pod, netip.AddrPort) mesh.Route {
					if asked.Add(1) == 1 {
						return first
					}
					return mesh.Route{Action: mesh.Plain, Target: alive}
				}
			})
			if _, _, err := greeted(t, w.client.Namespace, "10.96.0.9:80"); err != nil {
				t.Error(err)
			}
		})
	}
	// What is told of the connection is that of the attempt that succeeded.
	families, err := w.registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(families, err)
	}
	if text := fmt.Sprint(families); strings.Contains(text, "mutual_tls") {
		t.Errorf("a plain connection is told as a tunnel: %s", text)
	}
}
