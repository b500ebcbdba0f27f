package state

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// Whatever bytes come as a pod or a service: no panic; what cannot be understood gets nothing, and takes nothing from those already known.
func FuzzAddresses(f *testing.F) {
	for _, one := range resources(f, pod("data", "a", "10.1.0.2", of("data", "api", 80, 0), waypoint, second("fd00::1")),
		service("data", "api", "10.2.0.1", prefix(8), balanced(workloadapi.LoadBalancing_FAILOVER, workloadapi.LoadBalancing_NODE))) {
		f.Add(one.Name, one.Data)
	}
	f.Add("Kubernetes//Pod/shop/web", []byte{0xff})
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		s := holding(t, pod("data", "kept", "10.1.0.9"), service("data", "kept", "10.2.0.9"), pod("data", "end", "10.1.0.8", of("data", "kept", 80, 8080)))
		rejected := s.ApplyAddresses(false, nil, []Resource{{Name: name, Data: data}})
		message := &workloadapi.Address{}
		readable := proto.Unmarshal(data, message) == nil
		var asked []netip.AddrPort
		for _, text := range []string{"10.1.0.9:80", "10.2.0.9:80", "10.1.0.2:80", "10.2.0.1:80", "[fd00::1]:80", "192.0.2.1:1"} {
			asked = append(asked, to(text))
		}
		if readable {
			for _, raw := range message.GetWorkload().GetAddresses() {
				if address, ok := netip.AddrFromSlice(raw); ok {
					asked = append(asked, netip.AddrPortFrom(address, 80))
				}
			}
		}
		pods := []mesh.Pod{web, {Name: "a", Namespace: "data", ServiceAccount: "a"}}
		for _, destination := range asked {
			for _, one := range pods {
				route := s.Outbound(one, destination)
				if route.Action == mesh.Tunnel && (len(route.Accepted) == 0 || !route.Gateway.IsValid() || !route.Target.IsValid()) {
					t.Fatalf("%s: a tunnel without an end: %+v", destination, route)
				}
				if route.Action == mesh.Plain && len(rejected) > 0 {
					t.Fatalf("%s: what cannot be understood is called in the clear: %+v", destination, route)
				}
				s.Inbound(one, mesh.Connection{Source: destination.Addr(), Destination: destination})
			}
			s.Describe(destination.Addr())
		}
		s.Resolve(web, message.GetService().GetHostname())
		s.Resolve(web, name)
		if len(rejected) > 0 {
			if _, err := s.Identity(web); (err != nil) != (name == "Kubernetes//Pod/shop/web") {
				t.Fatalf("rejected %q changes the identity of shop/web: %v", name, err)
			}
			if one := s.entries[name]; one == nil || one.broken == "" {
				t.Fatalf("rejected %q is not held as broken", name)
			}
		}
		s.ApplyAddresses(false, []string{name}, nil)
		if len(s.entries) > 4 {
			t.Fatal("the removal leaves the entry")
		}
	})
}

// What one change costs beside 5,000 pods.
func BenchmarkOneChangeBeside5000Pods(b *testing.B) {
	var messages []proto.Message
	for i := range 5000 {
		messages = append(messages, pod("data", "p"+netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)}).String(),
			netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)}).String(), of("data", "api", 80, 80)))
	}
	s := holding(b, messages...)
	change := resources(b, pod("data", "new", "10.1.0.2"))
	for b.Loop() {
		s.ApplyAddresses(false, nil, change)
	}
}
