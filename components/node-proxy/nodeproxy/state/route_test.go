package state

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pkg/workloadapi"

	"bookstore.platform/istio/nodeproxy/mesh"
)

type (
	w = *workloadapi.Workload
	v = *workloadapi.Service
)

func unhealthy(w w)               { w.Status = workloadapi.WorkloadStatus_UNHEALTHY }
func plain(w w)                   { w.TunnelProtocol = workloadapi.TunnelProtocol_NONE }
func onNode(node string) func(w)  { return func(w w) { w.Node = node } }
func onHost(w w)                  { w.NetworkMode = workloadapi.NetworkMode_HOST_NETWORK }
func foreign(w w)                 { w.Network = "other" }
func waypoint(w w)                { w.Waypoint = &workloadapi.GatewayAddress{HboneMtlsPort: 15008} }
func capacityOf(n uint32) func(w) { return func(w w) { w.Capacity = wrapperspb.UInt32(n) } }
func second(address string) func(w) {
	return func(w w) { w.Addresses = append(w.Addresses, pod("", "", address).Addresses[0]) }
}

func balanced(mode workloadapi.LoadBalancing_Mode, scopes ...workloadapi.LoadBalancing_Scope) func(v) {
	return func(v v) { v.LoadBalancing = &workloadapi.LoadBalancing{Mode: mode, RoutingPreference: scopes} }
}

func prefix(length uint32) func(v) { return func(v v) { v.Addresses[0].Length = &length } }

func TestOutbound(t *testing.T) {
	api := service("data", "api", "10.2.0.1")
	endpoint := func(name, address string, edits ...func(w)) proto.Message {
		return pod("data", name, address, append([]func(w){of("data", "api", 80, 8080)}, edits...)...)
	}
	with := func(edits ...func(v)) proto.Message { return service("data", "api", "10.2.0.1", edits...) }
	const node = workloadapi.LoadBalancing_NODE
	tests := []struct {
		name string
		have []proto.Message
		to   string
		// want is the action and the targets that may be chosen, or a part of the reason of a refusal.
		action  mesh.Action
		targets []string
		reason  string
	}{
		{"unknown", nil, "192.0.2.1:443", mesh.PassThrough, []string{"192.0.2.1:443"}, ""},
		{"pod in the mesh", []proto.Message{pod("data", "a", "10.1.0.2")}, "10.1.0.2:9", mesh.Tunnel, []string{"10.1.0.2:9"}, ""},
		{"pod as IPv4 in IPv6", []proto.Message{pod("data", "a", "10.1.0.2")}, "[::ffff:10.1.0.2]:9", mesh.Tunnel, []string{"10.1.0.2:9"}, ""},
		{"pod outside of the mesh", []proto.Message{pod("data", "a", "10.1.0.2", plain)}, "10.1.0.2:9", mesh.Plain, []string{"10.1.0.2:9"}, ""},
		{"pod on the host's network is not found by address", []proto.Message{pod("data", "a", "10.1.0.2", onHost)}, "10.1.0.2:9", mesh.PassThrough,
			[]string{"10.1.0.2:9"}, ""},
		{"pod on the host's network through its service", []proto.Message{api, endpoint("a", "10.1.0.2", onHost, plain)}, "10.2.0.1:80", mesh.Plain,
			[]string{"10.1.0.2:8080"}, ""},
		{"pod of another network is not found by address", []proto.Message{pod("data", "a", "10.1.0.2", foreign)}, "10.1.0.2:9", mesh.PassThrough,
			[]string{"10.1.0.2:9"}, ""},
		{"service", []proto.Message{api, endpoint("a", "10.1.0.2"), endpoint("b", "10.1.0.3")}, "10.2.0.1:80", mesh.Tunnel,
			[]string{"10.1.0.2:8080", "10.1.0.3:8080"}, ""},
		{"service without this port", []proto.Message{api, endpoint("a", "10.1.0.2")}, "10.2.0.1:81", mesh.Refuse, nil, "has no port 81"},
		{"service without endpoints", []proto.Message{api}, "10.2.0.1:80", mesh.Refuse, nil, "has no endpoints"},
		{"endpoints not healthy", []proto.Message{api, endpoint("a", "10.1.0.2", unhealthy)}, "10.2.0.1:80", mesh.Refuse, nil, "1 not healthy"},
		{"healthy ones only", []proto.Message{api, endpoint("a", "10.1.0.2", unhealthy), endpoint("b", "10.1.0.3")}, "10.2.0.1:80", mesh.Tunnel,
			[]string{"10.1.0.3:8080"}, ""},
		{"all, healthy or not", []proto.Message{with(func(v v) {
			v.LoadBalancing = &workloadapi.LoadBalancing{HealthPolicy: workloadapi.LoadBalancing_ALLOW_ALL}
		}), endpoint("a", "10.1.0.2", unhealthy)}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.2:8080"}, ""},
		{"endpoints on another network", []proto.Message{api, endpoint("a", "10.1.0.2", foreign)}, "10.2.0.1:80", mesh.Refuse, nil, "on another network"},
		{"endpoints without address", []proto.Message{api, endpoint("a", "", func(w w) { w.Hostname = "example.com" })}, "10.2.0.1:80", mesh.Refuse, nil,
			"without an address"},
		{"endpoint without capacity", []proto.Message{api, endpoint("a", "10.1.0.2", capacityOf(0)), endpoint("b", "10.1.0.3", capacityOf(3))},
			"10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.3:8080"}, ""},
		{"named port, resolved by each endpoint", []proto.Message{with(func(v v) { v.Ports[0].TargetPort = 0 }),
			pod("data", "a", "10.1.0.2", of("data", "api", 80, 3000)), pod("data", "b", "10.1.0.3", of("data", "api", 80, 4000)),
			pod("data", "c", "10.1.0.4", of("data", "api"))}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.2:3000", "10.1.0.3:4000"}, ""},
		{"named port that no endpoint has", []proto.Message{with(func(v v) { v.Ports[0].TargetPort = 0 }), pod("data", "a", "10.1.0.2", of("data", "api"))},
			"10.2.0.1:80", mesh.Refuse, nil, "without the named port"},
		{"waypoint of the service", []proto.Message{with(func(v v) { v.Waypoint = &workloadapi.GatewayAddress{} }), endpoint("a", "10.1.0.2")},
			"10.2.0.1:80", mesh.Refuse, nil, "waypoint"},
		{"weighted waypoints of the service", []proto.Message{with(func(v v) { v.WeightedWaypoints = []*workloadapi.WeightedWaypoint{{}} }),
			endpoint("a", "10.1.0.2")}, "10.2.0.1:80", mesh.Refuse, nil, "waypoint"},
		{"waypoint of the pod", []proto.Message{pod("data", "a", "10.1.0.2", waypoint)}, "10.1.0.2:9", mesh.Refuse, nil, "waypoint"},
		{"waypoint of the endpoint", []proto.Message{api, endpoint("a", "10.1.0.2", waypoint)}, "10.2.0.1:80", mesh.Refuse, nil, "waypoint"},
		{"application tunnel", []proto.Message{pod("data", "a", "10.1.0.2", func(w w) { w.ApplicationTunnel = &workloadapi.ApplicationTunnel{} })},
			"10.1.0.2:9", mesh.Refuse, nil, "application tunnel"},
		{"strict: on the client's node only", []proto.Message{with(balanced(workloadapi.LoadBalancing_STRICT, node)), endpoint("a", "10.1.0.2", onNode("n2")),
			endpoint("b", "10.1.0.3")}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.3:8080"}, ""},
		{"strict: none on the client's node", []proto.Message{with(balanced(workloadapi.LoadBalancing_STRICT, node)), endpoint("a", "10.1.0.2", onNode("n2"))},
			"10.2.0.1:80", mesh.Refuse, nil, "locality"},
		{"failover: the client's node first", []proto.Message{with(balanced(workloadapi.LoadBalancing_FAILOVER, node)),
			endpoint("a", "10.1.0.2", onNode("n2")), endpoint("b", "10.1.0.3")}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.3:8080"}, ""},
		{"failover: then others", []proto.Message{with(balanced(workloadapi.LoadBalancing_FAILOVER, node)), endpoint("a", "10.1.0.2", onNode("n2")),
			endpoint("b", "10.1.0.3", unhealthy)}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.2:8080"}, ""},
		{"failover: in the declared order", []proto.Message{
			with(balanced(workloadapi.LoadBalancing_FAILOVER, workloadapi.LoadBalancing_REGION, node)),
			endpoint("a", "10.1.0.2", func(w w) { w.Locality = &workloadapi.Locality{Region: "far"} }), endpoint("b", "10.1.0.3", onNode("n2"))},
			"10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.3:8080"}, ""},
		{"passing through keeps an address outside", []proto.Message{with(balanced(workloadapi.LoadBalancing_PASSTHROUGH))}, "10.2.0.1:81", mesh.PassThrough,
			[]string{"10.2.0.1:81"}, ""},
		{"passing through to a pod", []proto.Message{with(balanced(workloadapi.LoadBalancing_PASSTHROUGH), prefix(24)), pod("data", "a", "10.2.0.7")},
			"10.2.0.7:9", mesh.Tunnel, []string{"10.2.0.7:9"}, ""},
		{"an address beats a prefix", []proto.Message{api, endpoint("a", "10.1.0.2"), service("data", "wide", "10.2.0.0", prefix(16))}, "10.2.0.1:80",
			mesh.Tunnel, []string{"10.1.0.2:8080"}, ""},
		{"a longer prefix beats a shorter one", []proto.Message{service("data", "api", "10.2.0.0", prefix(24)), endpoint("a", "10.1.0.2"),
			service("data", "wide", "10.2.0.0", prefix(16))}, "10.2.0.9:80", mesh.Tunnel, []string{"10.1.0.2:8080"}, ""},
		{"the own namespace beats both", []proto.Message{service("data", "other", "10.2.0.1"), service("shop", "own", "10.2.0.0", prefix(16)),
			pod("shop", "a", "10.1.0.2", of("shop", "own", 80, 8080))}, "10.2.0.1:80", mesh.Tunnel, []string{"10.1.0.2:8080"}, ""},
		{"a service that others may not see", []proto.Message{with(func(v v) { v.Visibility = workloadapi.Service_NAMESPACE }), endpoint("a", "10.1.0.2")},
			"10.2.0.1:80", mesh.PassThrough, []string{"10.2.0.1:80"}, ""},
		{"the family of the destination", []proto.Message{api, endpoint("a", "fd00::2", second("10.1.0.2"))}, "10.2.0.1:80", mesh.Tunnel,
			[]string{"10.1.0.2:8080"}, ""},
		{"only a family that the client has not", []proto.Message{api, endpoint("a", "fd00::2")}, "10.2.0.1:80", mesh.Refuse, nil, "family"},
		{"pod without identity", []proto.Message{pod("data", "a", "10.1.0.2", func(w w) { w.Namespace = "" })}, "10.1.0.2:9", mesh.Refuse, nil, "no identity"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, seen := holding(t, test.have...), map[string]bool{}
			for range 40 {
				route := store.Outbound(web, to(test.to))
				if route.Action != test.action || (route.Action == mesh.Refuse) != (route.Reason != "") || !strings.Contains(route.Reason, test.reason) {
					t.Fatalf("%+v, want action %d, %q", route, test.action, test.reason)
				}
				if route.Action == mesh.Refuse {
					return
				}
				if !slices.Contains(test.targets, route.Target.String()) {
					t.Fatalf("target %s is none of %v", route.Target, test.targets)
				}
				if tunnel := route.Action == mesh.Tunnel; tunnel != (len(route.Accepted) > 0) || tunnel && (route.Gateway.Addr() != route.Target.Addr() ||
					route.Gateway.Port() != 15008) {
					t.Fatalf("the gateway or the identities are wrong: %+v", route)
				}
				seen[route.Target.String()] = true
			}
			if len(seen) != len(test.targets) {
				t.Errorf("40 connections went to %v, want each of %v", seen, test.targets)
			}
		})
	}
}

func TestTheIdentitiesThatATunnelAccepts(t *testing.T) {
	store := holding(t, service("data", "api", "10.2.0.1", func(v v) {
		v.SubjectAltNames = []string{"spiffe://cluster.local/ns/data/sa/other", "api.example.com", "cluster.local/ns/data/sa/noprefix"}
	}), pod("data", "a", "10.1.0.2", of("data", "api", 80, 8080), func(w w) { w.ServiceAccount = "" }),
		pod("far", "b", "10.1.0.3", func(w w) { w.TrustDomain = "example.org" }))
	want := []string{"spiffe://cluster.local/ns/data/sa/default", "spiffe://cluster.local/ns/data/sa/other"}
	if got := store.Outbound(web, to("10.2.0.1:80")).Accepted; !slices.Equal(got, want) {
		t.Errorf("through the service: %v, want %v", got, want)
	}
	if got := store.Outbound(web, to("10.1.0.2:80")).Accepted; !slices.Equal(got, want[:1]) {
		t.Errorf("by address: %v, want %v", got, want[:1])
	}
	if got := store.Outbound(web, to("10.1.0.3:80")).Accepted; !slices.Equal(got, []string{"spiffe://example.org/ns/far/sa/b"}) {
		t.Errorf("other trust domain: %v", got)
	}
}

func TestCapacityWeighsEndpoints(t *testing.T) {
	store := holding(t, service("data", "api", "10.2.0.1"), pod("data", "a", "10.1.0.2", of("data", "api", 80, 80)),
		pod("data", "b", "10.1.0.3", of("data", "api", 80, 80), capacityOf(9)))
	count := map[string]int{}
	for range 2000 {
		count[store.Outbound(web, to("10.2.0.1:80")).Target.Addr().String()]++
	}
	// Expected 200 and 1800, standard deviation 13.
	if count["10.1.0.2"] < 100 || count["10.1.0.2"] > 300 {
		t.Errorf("1:9 was spread as %v", count)
	}
}

func TestNothingIsKnownYet(t *testing.T) {
	ask := func(t *testing.T, s *Store) {
		t.Helper()
		if s.Ready() {
			t.Error("it is ready")
		}
		if route := s.Outbound(web, to("192.0.2.1:443")); route.Action != mesh.Refuse || route.Reason == "" {
			t.Errorf("outbound: %+v", route)
		}
		if decision := s.Inbound(web, mesh.Connection{Source: to("10.1.0.9:1").Addr(), Destination: to("10.1.0.1:80")}); decision.Allowed {
			t.Errorf("inbound: %+v", decision)
		}
	}
	t.Run("nothing", func(t *testing.T) { ask(t, New(config)) })
	t.Run("addresses only", func(t *testing.T) {
		s := New(config)
		s.ApplyAddresses(true, nil, resources(t, pod("shop", "web", "10.1.0.1")))
		ask(t, s)
	})
	t.Run("policies only", func(t *testing.T) {
		s := New(config)
		s.ApplyPolicies(true, nil, nil)
		ask(t, s)
	})
	if route := (mesh.Route{}); route.Action != mesh.Refuse {
		t.Error("an empty route lets something through")
	}
}
