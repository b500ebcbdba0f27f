package dump_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/istioctl/pkg/writer/ztunnel/configdump"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/dump"
	"bookstore.platform/istio/nodeproxy/identity"
	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
	"bookstore.platform/istio/nodeproxy/state"
)

const web = "spiffe://cluster.local/ns/shop/sa/web"

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func store(t *testing.T) *state.Store {
	t.Helper()
	length := uint32(24)
	workload := &workloadapi.Workload{
		Uid: "Kubernetes//Pod/shop/web-1", Name: "web-1", Namespace: "shop", ServiceAccount: "web", Node: "n1", Addresses: [][]byte{{10, 1, 0, 1}},
		TunnelProtocol: workloadapi.TunnelProtocol_HBONE, AuthorizationPolicies: []string{"shop/listed"},
		Services: map[string]*workloadapi.PortList{"shop/web.shop.svc.cluster.local": {Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}}}},
	}
	service := &workloadapi.Service{
		Name: "web", Namespace: "shop", Hostname: "web.shop.svc.cluster.local", Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}},
		Addresses: []*workloadapi.NetworkAddress{{Address: []byte{10, 2, 0, 1}}, {Network: "far", Address: []byte{10, 9, 0, 0}, Length: &length}},
		Waypoint: &workloadapi.GatewayAddress{HboneMtlsPort: 15008, Destination: &workloadapi.GatewayAddress_Hostname{
			Hostname: &workloadapi.NamespacedHostname{Namespace: "shop", Hostname: "waypoint.shop.svc.cluster.local"},
		}},
		LoadBalancing: &workloadapi.LoadBalancing{
			Mode: workloadapi.LoadBalancing_FAILOVER, RoutingPreference: []workloadapi.LoadBalancing_Scope{workloadapi.LoadBalancing_NODE},
		},
	}
	policy := &security.Authorization{
		Name: "listed", Namespace: "shop", Scope: security.Scope_WORKLOAD_SELECTOR, Action: security.Action_DENY,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{
			NotPrincipals:   []*security.StringMatch{{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}},
			SourceIps:       []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 8}},
			ServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "shop", ServiceAccount: "web"}}, DestinationPorts: []uint32{80},
		}}}}}},
	}
	s := state.New(state.Config{ClusterID: "Kubernetes"})
	s.ApplyAddresses(true, nil, []state.Resource{
		{Name: workload.Uid, Data: encode(t, &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: workload}})},
		{Name: "shop/web.shop.svc.cluster.local", Data: encode(t, &workloadapi.Address{Type: &workloadapi.Address_Service{Service: service}})},
		{Name: "Kubernetes//Pod/shop/bad", Data: []byte{0xff}},
	})
	s.ApplyPolicies(true, nil, []state.Resource{{Name: "shop/listed", Data: encode(t, policy)}, {Name: "shop/bad", Data: []byte{0xff}}})
	return s
}

// istioctl itself reads and prints the dump.
func TestIstioctlReadsTheDump(t *testing.T) {
	server := istiodtest.Start(t)
	manager := identity.New(identity.Config{Istiod: server.Config(), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	done := make(chan struct{})
	go func() { manager.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	if _, err := manager.ServerConfig(ctx, web); err != nil {
		t.Fatal(err)
	}
	held, roots := manager.Held()
	data, err := json.Marshal(dump.New(store(t).Contents(), append(held, identity.Held{Identity: "spiffe://cluster.local/ns/shop/sa/new"}), roots,
		map[string]dump.WorkloadState{"uid-1": {
			State: "Up", Info: dump.Info{Name: "web-1", Namespace: "shop", ServiceAccount: "web"},
			Connections: dump.Connections{
				Inbound:  []dump.Connection{{Src: "10.1.0.9:4711", OriginalDst: "10.1.0.1:8080", ActualDst: "10.1.0.1:8080", Protocol: "HBONE"}},
				Outbound: []dump.Connection{{Src: "10.1.0.1:4712", OriginalDst: "10.2.0.1:80", ActualDst: "10.1.0.1:15008", Protocol: "HBONE"}},
			},
		}}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "PRIVATE") {
		t.Error("the dump holds a private key")
	}
	var out bytes.Buffer
	writer := &configdump.ConfigWriter{Stdout: &out, FullDump: data}
	if err := writer.Prime(data); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		print func() error
		wants []string
	}{
		"workload":    {func() error { return writer.PrintWorkloadSummary(configdump.WorkloadFilter{}) }, []string{"shop web-1 10.1.0.1 n1 None HBONE"}},
		"service":     {func() error { return writer.PrintServiceSummary(configdump.ServiceFilter{}) }, []string{"shop web 10.2.0.1", "1/1"}},
		"policy":      {func() error { return writer.PrintPolicySummary(configdump.PolicyFilter{}) }, []string{"shop listed Deny WorkloadSelector", "shop bad Unknown Unknown"}},
		"certificate": {writer.PrintSecretSummary, []string{web + " Leaf Available true", web + " Root Available true", "sa/new NA Initializing false"}},
		"connections": {func() error { return writer.PrintConnectionsSummary(configdump.ConnectionsFilter{}) }, []string{"web-1.shop Inbound", "web-1.shop Outbound"}},
		"services in JSON": {func() error { return writer.PrintServiceDump(configdump.ServiceFilter{}, "json") },
			[]string{`"cidrVips": [ "far/10.9.0.0/24" ]`, `"destination": "shop/waypoint.shop.svc.cluster.local"`, `"mode": "Failover"`, `"80": 8080`}},
		"policies in JSON": {func() error { return writer.PrintPolicyDump(configdump.PolicyFilter{}, "json") },
			[]string{`"Presence": {}`, `"10.0.0.0/8"`, `"serviceAccount": "web"`, `"destinationPorts": [ 80 ]`}},
		"workloads in YAML": {func() error { return writer.PrintWorkloadDump(configdump.WorkloadFilter{}, "yaml") },
			[]string{"trustDomain: cluster.local", "- shop/listed", "capacity: 1", "status: Healthy"}},
	} {
		out.Reset()
		if err := test.print(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range test.wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in %s", name, want, text)
			}
		}
	}
	if !strings.Contains(string(data), `"unreadable":{"Kubernetes//Pod/shop/bad":`) {
		t.Error("what could not be read is not named")
	}
}

func TestAnEmptyDump(t *testing.T) {
	data, err := json.Marshal(dump.New(state.New(state.Config{}).Contents(), nil, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&configdump.ConfigWriter{Stdout: &bytes.Buffer{}}).Prime(data); err != nil {
		t.Error(err)
	}
}
