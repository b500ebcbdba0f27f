package state

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
)

func listing(policies ...string) func(w) { return func(w w) { w.AuthorizationPolicies = policies } }

// strict is the policy that istiod makes of a PeerAuthentication.
func strict() *security.Authorization {
	return &security.Authorization{
		Name: "istio_converted_static_strict", Namespace: "istio-system", Scope: security.Scope_WORKLOAD_SELECTOR, Action: security.Action_DENY,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{NotPrincipals: []*security.StringMatch{
			{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}},
		}}}}}}},
	}
}

func allowFrom(namespace, name, principal string) *security.Authorization {
	return &security.Authorization{
		Name: name, Namespace: namespace, Scope: security.Scope_NAMESPACE,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{Principals: []*security.StringMatch{
			{MatchType: &security.StringMatch_Exact{Exact: principal}},
		}}}}}}},
	}
}

func from(identity, destination string) mesh.Connection {
	return mesh.Connection{Source: to("10.1.0.9:1").Addr(), Destination: to(destination), Identity: identity}
}

const client = "cluster.local/ns/data/sa/client"

func TestInbound(t *testing.T) {
	s := holding(t, pod("shop", "web", "10.1.0.1", listing("istio-system/istio_converted_static_strict")))
	expect := func(name string, connection mesh.Connection, allowed bool, reason string) {
		t.Helper()
		if decision := s.Inbound(web, connection); decision.Allowed != allowed || !strings.Contains(decision.Reason, reason) {
			t.Errorf("%s: %+v, want allowed = %t, %q", name, decision, allowed, reason)
		}
	}
	expect("a listed policy has not arrived", from(client, "10.1.0.1:80"), false, "has not arrived")
	s.ApplyPolicies(false, nil, resources(t, strict()))
	expect("plaintext under STRICT", from("", "10.1.0.1:80"), false, "istio_converted_static_strict")
	expect("tunnel under STRICT", from(client, "10.1.0.1:80"), true, "")
	expect("tunnel to IPv4 in IPv6", from(client, "[::ffff:10.1.0.1]:80"), true, "")
	expect("another pod's address", from(client, "10.1.0.2:80"), false, "not an address of the pod")
	for _, port := range []string{"15001", "15006", "15008", "15053"} {
		expect("the proxy's port", from(client, "10.1.0.1:"+port), false, "proxy's own")
	}
	expect("an identity that is none", from("somebody", "10.1.0.1:80"), false, "somebody")
	for name, unknown := range map[string]mesh.Pod{
		"unknown pod":     {Name: "other", Namespace: "shop", ServiceAccount: "other"},
		"another account": {Name: "web", Namespace: "shop", ServiceAccount: "intruder"},
		"no account":      {Name: "web", Namespace: "shop"},
		"nothing":         {},
	} {
		if decision := s.Inbound(unknown, from(client, "10.1.0.1:80")); decision.Allowed || decision.Reason == "" {
			t.Errorf("%s: %+v", name, decision)
		}
		if identity, err := s.Identity(unknown); err == nil {
			t.Errorf("%s has identity %s", name, identity)
		}
		if route := s.Outbound(unknown, to("192.0.2.1:443")); route.Action != mesh.Refuse {
			t.Errorf("%s: %+v", name, route)
		}
	}
	if identity, err := s.Identity(web); err != nil || identity != "spiffe://cluster.local/ns/shop/sa/web" {
		t.Errorf("identity %q, %v", identity, err)
	}
}

// An ALLOW policy that was deleted while the stream was cut no longer allows.
func TestAWholeStateReplacesTheHeldOne(t *testing.T) {
	s := holding(t, pod("data", "gone", "10.1.0.5"))
	s.ApplyPolicies(false, nil, resources(t, allowFrom("shop", "one", client), allowFrom("shop", "two", "cluster.local/ns/data/sa/other")))
	if !s.Inbound(web, from(client, "10.1.0.1:80")).Allowed {
		t.Fatal("the policy does not allow")
	}
	s.ApplyPolicies(true, nil, resources(t, allowFrom("shop", "two", "cluster.local/ns/data/sa/other")))
	if s.Inbound(web, from(client, "10.1.0.1:80")).Allowed {
		t.Error("the deleted policy still allows")
	}
	s.ApplyAddresses(true, nil, resources(t, pod("shop", "web", "10.1.0.1")))
	if route := s.Outbound(web, to("10.1.0.5:80")); route.Action != mesh.PassThrough {
		t.Errorf("the deleted pod is still known: %+v", route)
	}
	s.ApplyAddresses(true, nil, nil)
	if _, err := s.Identity(web); err == nil {
		t.Error("an empty whole state leaves a pod")
	}
	if !s.Ready() {
		t.Error("an empty state is a state")
	}
}

func TestRemovalsGoBeforeAdditions(t *testing.T) {
	s := holding(t, pod("data", "a", "10.1.0.2"))
	s.ApplyAddresses(false, []string{"Kubernetes//Pod/data/a"}, resources(t, pod("data", "a", "10.1.0.3")))
	if s.Outbound(web, to("10.1.0.3:1")).Action != mesh.Tunnel || s.Outbound(web, to("10.1.0.2:1")).Action != mesh.PassThrough {
		t.Error("the pod did not move to its new address")
	}
}

func TestTwoPodsWithOneAddress(t *testing.T) {
	s := holding(t, pod("data", "z-old", "10.1.0.2"))
	s.ApplyAddresses(false, nil, resources(t, pod("data", "a-new", "10.1.0.2")))
	owner := func() string { return s.Describe(to("10.1.0.2:1").Addr())["source_workload"] }
	if owner() != "a-new" {
		t.Errorf("the address belongs to %s, want the last one", owner())
	}
	s.ApplyAddresses(false, []string{"Kubernetes//Pod/data/z-old"}, nil)
	if owner() != "a-new" {
		t.Errorf("the removal of the first took the address of the second: %s", owner())
	}
}

func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	messages := []proto.Message{
		service("data", "api", "10.2.0.1"), service("shop", "api", "10.2.0.1"), service("data", "list", ""),
		pod("data", "a", "10.1.0.2", of("data", "api", 80, 8080), of("data", "list", 80, 80)), pod("shop", "b", "10.1.0.3", of("shop", "api", 80, 8080)),
	}
	view := func(s *Store) string {
		one, _ := s.Resolve(web, "api")
		two, known := s.Resolve(web, "list.data")
		return fmt.Sprint(s.Outbound(web, to("10.2.0.1:80")), s.Outbound(web, to("10.1.0.2:80")), one, two, known)
	}
	want := view(holding(t, messages...))
	for range 50 {
		rand.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		s := holding(t)
		for _, message := range messages {
			s.ApplyAddresses(false, nil, resources(t, message))
		}
		if got := view(s); got != want {
			t.Fatalf("by another order:\n%s\nwant\n%s", got, want)
		}
		for _, message := range messages {
			s.ApplyAddresses(false, []string{resource(t, message).Name}, nil)
		}
		if empty := holding(t); !reflect.DeepEqual(s.current.Load().byVIP, empty.current.Load().byVIP) || len(s.current.Load().endpoints) > 0 {
			t.Fatal("the removal leaves a rest")
		}
	}
}

func TestABadResourceIsRejectedAlone(t *testing.T) {
	s := holding(t, pod("data", "a", "10.1.0.2"), service("data", "api", "10.2.0.1"), pod("data", "b", "10.1.0.3", of("data", "api", 80, 80)))
	strange := service("data", "api", "10.2.0.7")
	strange.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 200, protowire.VarintType), 1))
	rejected := s.ApplyAddresses(false, nil, append(resources(t, pod("data", "good", "10.1.0.4"), strange),
		Resource{Name: "Kubernetes//Pod/data/a", Data: []byte{0xff}}, Resource{Name: "Kubernetes//Pod/data/new", Err: fmt.Errorf("of another type")}))
	if len(rejected) != 3 {
		t.Errorf("rejected: %v", rejected)
	}
	for address, action := range map[string]mesh.Action{
		"10.1.0.4:80": mesh.Tunnel, "10.1.0.2:80": mesh.Refuse, "10.2.0.1:80": mesh.Refuse, "10.2.0.7:80": mesh.Refuse, "10.1.0.3:80": mesh.Tunnel,
	} {
		if route := s.Outbound(web, to(address)); route.Action != action {
			t.Errorf("%s: %+v, want action %d", address, route, action)
		}
	}
	bad := mesh.Pod{Name: "a", Namespace: "data", ServiceAccount: "a"}
	if s.Inbound(bad, from(client, "10.1.0.2:80")).Allowed {
		t.Error("a pod of which istiod's word cannot be understood is open")
	}
	if rejected := s.ApplyAddresses(false, nil, resources(t, pod("data", "a", "10.1.0.2"), service("data", "api", "10.2.0.1"))); len(rejected) > 0 {
		t.Error(rejected)
	}
	if s.Outbound(web, to("10.1.0.2:80")).Action != mesh.Tunnel || s.Outbound(web, to("10.2.0.7:80")).Action != mesh.PassThrough {
		t.Error("a good version does not replace the bad one")
	}
}

func TestWhatIsNotUnderstoodRefuses(t *testing.T) {
	for name, edit := range map[string]func(w){
		"tunnel protocol": func(w w) { w.TunnelProtocol = 9 }, "network mode": func(w w) { w.NetworkMode = 9 }, "status": func(w w) { w.Status = 9 },
		"address": func(w w) { w.Addresses = append(w.Addresses, []byte{1, 2, 3}) },
		"port":    of("data", "api", 80, 70000),
		"deep down": func(w w) {
			w.Locality = &workloadapi.Locality{}
			w.Locality.ProtoReflect().SetUnknown([]byte{0xc0, 0x0c, 1})
		},
	} {
		s := holding(t)
		if rejected := s.ApplyAddresses(false, nil, resources(t, pod("data", "a", "10.1.0.2", edit))); len(rejected) != 1 {
			t.Errorf("%s is not rejected", name)
		}
		if route := s.Outbound(web, to("10.1.0.2:80")); route.Action != mesh.Refuse {
			t.Errorf("%s: %+v", name, route)
		}
	}
	for name, edit := range map[string]func(v){
		"families": func(v v) { v.IpFamilies = 9 }, "visibility": func(v v) { v.Visibility = 9 }, "mode": balanced(9), "scope": balanced(1, 9),
		"prefix": prefix(64), "port": func(v v) { v.Ports[0].ServicePort = 70000 },
	} {
		s := holding(t, service("data", "api", "10.2.0.1"))
		if rejected := s.ApplyAddresses(false, nil, resources(t, service("data", "api", "10.2.0.1", edit))); len(rejected) != 1 {
			t.Errorf("%s is not rejected", name)
		}
		if route := s.Outbound(web, to("10.2.0.1:80")); route.Action != mesh.Refuse {
			t.Errorf("%s: %+v", name, route)
		}
	}
}

func TestChangesAreTold(t *testing.T) {
	s := holding(t)
	first := s.Changed()
	select {
	case <-first:
		t.Fatal("closed before a change")
	default:
	}
	s.ApplyPolicies(false, nil, resources(t, strict()))
	select {
	case <-first:
	default:
		t.Fatal("not closed by a change of policies")
	}
	second := s.Changed()
	s.ApplyAddresses(false, nil, nil)
	select {
	case <-second:
	default:
		t.Fatal("not closed by a change of addresses")
	}
}

// Readers beside a writer: for the race detector; and no reader sees half of a response.
func TestReadersSeeWholeResponses(t *testing.T) {
	s := holding(t)
	both := resources(t, pod("data", "a", "10.1.0.2"), pod("data", "b", "10.1.0.3"))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				changed := s.Changed()
				state := s.current.Load()
				if a, b := state.byAddress[to("10.1.0.2:1").Addr()], state.byAddress[to("10.1.0.3:1").Addr()]; (a == nil) != (b == nil) {
					t.Error("one of two pods that come and go together is there")
					return
				}
				s.Outbound(web, to("10.1.0.2:80"))
				s.Inbound(web, from(client, "10.1.0.1:80"))
				s.Resolve(web, "api.data")
				select {
				case <-stop:
					return
				case <-changed:
				}
			}
		})
	}
	for range 300 {
		s.ApplyAddresses(false, nil, both)
		s.ApplyAddresses(false, []string{both[0].Name, both[1].Name}, nil)
	}
	close(stop)
	readers.Wait()
}
