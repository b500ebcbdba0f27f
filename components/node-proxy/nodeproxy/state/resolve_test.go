package state

import (
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"

	"bookstore.platform/istio/nodeproxy/mesh"
)

func entryHost(name string) func(v) { return func(v v) { v.Hostname = name } }

func TestNames(t *testing.T) {
	vip := func(address string) func(v) {
		return func(v v) { v.Addresses = append(v.Addresses, service("", "", address).Addresses[0]) }
	}
	have := []proto.Message{
		service("shop", "api", "10.2.0.1"), service("data", "api", "10.2.0.2"),
		service("data", "list", ""), pod("data", "list-0", "10.1.0.2", of("data", "list"), func(w w) { w.Hostname = "list-0." + host("data", "list") }),
		pod("data", "list-1", "10.1.0.3", of("data", "list"), unhealthy), pod("data", "list-2", "10.1.0.4", of("data", "list"), second("fd00::4")),
		service("data", "all", "", func(v v) {
			v.LoadBalancing = &workloadapi.LoadBalancing{HealthPolicy: workloadapi.LoadBalancing_ALLOW_ALL}
		}), pod("data", "all-0", "10.1.0.5", of("data", "all"), unhealthy),
		service("data", "none", ""),
		service("data", "dual", "10.2.0.3", vip("fd00:2::3")),
		service("data", "four", "10.2.0.4", vip("fd00:2::4"), func(v v) { v.IpFamilies = workloadapi.IPFamilies_IPV4_ONLY }),
		service("data", "hidden", "10.2.0.5", func(v v) { v.Visibility = workloadapi.Service_NAMESPACE }),
		service("data", "block", "10.9.0.0", prefix(16)),
		service("data", "exact", "10.2.1.1", entryHost("www.example.com")), service("data", "star", "10.2.1.2", entryHost("*.example.com")),
		service("data", "deepstar", "10.2.1.3", entryHost("*.eu.example.com")),
		service("data", "novip", "", entryHost("novip.example.org")),
		service("data", "first", "10.2.1.4", entryHost("both.example.org")),
		service("else", "second", "10.2.1.5", entryHost("both.example.org"), func(v v) { v.Canonical = true }),
		service("data", "names", "10.2.1.6", entryHost("names.example.org")),
		pod("data", "remote", "", func(w w) {
			w.Hostname = "real.example.org"
			w.Services = map[string]*workloadapi.PortList{"data/names.example.org": {}}
		}),
	}
	s := holding(t, have...)
	tests := map[string][]netip.Addr{
		"api": addresses("10.2.0.1"), "API.": addresses("10.2.0.1"), "api.data": addresses("10.2.0.2"), "api.data.svc": addresses("10.2.0.2"),
		"api.data.svc.cluster.local.": addresses("10.2.0.2"), "api.shop.svc.cluster.local": addresses("10.2.0.1"),
		"api.else": nil, "unknown": nil, "": nil, ".": nil, "www.example.net": nil, "example.com": nil, "svc.cluster.local": nil,
		"list.data":                          addresses("10.1.0.2", "10.1.0.4", "fd00::4"),
		"list-0.list.data.svc.cluster.local": addresses("10.1.0.2"), "list-1.list.data.svc.cluster.local": nil,
		"all.data": addresses("10.1.0.5"), "none.data": nil, "dual.data": addresses("10.2.0.3", "fd00:2::3"), "four.data": addresses("10.2.0.4"),
		"hidden.data": nil, "block.data": nil,
		"www.example.com": addresses("10.2.1.1"), "other.example.com": addresses("10.2.1.2"), "a.b.example.com": addresses("10.2.1.2"),
		"a.eu.example.com":                       addresses("10.2.1.3"),
		"www.example.com.shop.svc.cluster.local": addresses("10.2.1.1"), "www.example.com.cluster.local": addresses("10.2.1.1"),
		"novip.example.org": nil, "both.example.org": addresses("10.2.1.5"), "names.example.org": nil,
	}
	for name, want := range tests {
		got, known := s.Resolve(web, name)
		slices.SortFunc(got, netip.Addr.Compare)
		if known != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("%q: %v, known = %t, want %v", name, got, known, want)
		}
	}
	inside := mesh.Pod{Namespace: "data"}
	if got, known := s.Resolve(inside, "hidden"); !known || !slices.Equal(got, addresses("10.2.0.5")) {
		t.Errorf("a service that only its namespace may see is hidden from it: %v", got)
	}
	if got, _ := s.Resolve(inside, "both.example.org"); !slices.Equal(got, addresses("10.2.1.4")) {
		t.Errorf("the own namespace does not go first: %v", got)
	}
	if _, known := New(config).Resolve(web, "api"); known {
		t.Error("a name is known before anything has arrived")
	}
}

func TestLabels(t *testing.T) {
	s := holding(t, service("data", "api", "10.2.0.1"), pod("data", "a", "10.1.0.2", of("data", "api", 80, 80)), pod("data", "host", "10.0.0.1", onHost))
	want := mesh.Labels{
		"destination_workload": "a", "destination_workload_namespace": "data", "destination_canonical_service": "a", "destination_canonical_revision": "v1",
		"destination_app": "a", "destination_version": "v1", "destination_cluster": "Kubernetes", "destination_principal": "spiffe://cluster.local/ns/data/sa/a",
		"destination_service": "api.data.svc.cluster.local", "destination_service_name": "api", "destination_service_namespace": "data",
	}
	check := func(name string, got mesh.Labels) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d labels, want %d: %v", name, len(got), len(want), got)
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s: %s = %q, want %q", name, key, got[key], value)
			}
		}
	}
	check("route", s.Outbound(web, to("10.2.0.1:80")).Labels)
	check("route by address", s.Outbound(web, to("10.1.0.2:80")).Labels)
	check("described", s.Describe(netip.MustParseAddr("10.1.0.2")).Side("destination_"))
	if got := s.Describe(netip.MustParseAddr("10.1.0.2")).Side("source_"); got["source_workload"] != "a" || len(got) != 8 {
		t.Errorf("source: %v", got)
	}
	for _, address := range []string{"10.0.0.1", "192.0.2.1"} {
		if got := s.Describe(netip.MustParseAddr(address)); len(got) != 0 {
			t.Errorf("%s: %v", address, got)
		}
	}
}
