package inbound

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
)

func TestAuthority(t *testing.T) {
	own, six := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")
	for text, address := range map[string]netip.Addr{"10.0.0.7:8080": own, "[fd00::7]:8080": six} {
		if got, err := Authority(text, address); err != nil || got.String() != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "10.0.0.7", "10.0.0.8:8080", "10.0.0.7:0", "10.0.0.7:15001", "10.0.0.7:15006", "10.0.0.7:15008", "10.0.0.7:15053",
		"127.0.0.1:8080", "localhost:8080", "web.shop.svc.cluster.local:80", "[::ffff:10.0.0.7]:8080", "10.0.0.7:8080@evil", "10.0.0.7:99999",
		"[fd00::7%eth0]:8080", "010.0.0.7:8080", " 10.0.0.7:8080", "169.254.169.254:80",
	} {
		if got, err := Authority(text, own); err == nil {
			t.Errorf("%q was taken for %s", text, got)
		}
	}
	for _, text := range []string{"[FD00::7]:8080", "[fd00:0::7]:8080", "[fd00::7]:08080", "[fd00::7]:+80", "[fd00::7%25eth0]:8080"} {
		if got, err := Authority(text, six); err == nil {
			t.Errorf("%q was taken for %s", text, got)
		}
	}
	if got, err := Authority("10.0.0.7:08080", own); err == nil {
		t.Errorf("a port with a zero before it was taken for %s", got)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	if _, err := Authority("127.0.0.1:8080", loopback); err == nil {
		t.Error("a tunnel to loopback is accepted")
	}
}

func FuzzAuthority(f *testing.F) {
	for _, seed := range []string{"10.0.0.7:8080", "[::1]:1", "a:b", "10.0.0.7:15008", "%", "[fe80::1%25eth0]:80"} {
		f.Add(seed)
	}
	own := netip.MustParseAddr("10.0.0.7")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Authority(text, own)
		if err == nil && (got.Addr() != own || got.String() != text || got.Port() == 0) {
			t.Errorf("%q was taken for %s", text, got)
		}
	})
}

// A change that comes while connections are being admitted is missed by none of them.
func TestChangesAreNotMissed(t *testing.T) {
	control := meshtest.NewControl()
	allow := func(allowed bool) {
		control.Set(func(s *meshtest.State) {
			s.Ready = true
			s.Inbound = func(mesh.Pod, mesh.Connection) mesh.Decision { return mesh.Decision{Allowed: allowed} }
		})
	}
	allow(true)
	registry := NewRegistry(control)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { registry.Run(ctx); close(done) }()
	for range 50 {
		allow(true)
		var group sync.WaitGroup
		var mutex sync.Mutex
		var admitted []context.Context
		for range 50 {
			group.Go(func() {
				open, admission, err := registry.Admit(context.Background(), mesh.Pod{}, mesh.Connection{})
				t.Cleanup(admission.Leave)
				if err == nil {
					mutex.Lock()
					admitted = append(admitted, open)
					mutex.Unlock()
				}
			})
		}
		allow(false)
		group.Wait()
		nettest.Until(t, "all that were admitted are refused", func() bool {
			for _, open := range admitted {
				if open.Err() == nil {
					return false
				}
			}
			return true
		})
	}
	cancel()
	<-done
}
