package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/state"
)

const caller = "cluster.local/ns/data/sa/caller"

var shop = mesh.Pod{UID: "1", Name: "web", Namespace: "shop", ServiceAccount: "web"}

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func workload(t *testing.T, namespace, name, address string) map[string][]byte {
	uid := "Kubernetes//Pod/" + namespace + "/" + name
	return map[string][]byte{uid: encode(t, &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: &workloadapi.Workload{
		Uid: uid, Name: name, Namespace: namespace, ServiceAccount: name, TunnelProtocol: workloadapi.TunnelProtocol_HBONE,
		Addresses: [][]byte{netip.MustParseAddr(address).AsSlice()},
	}}})}
}

func allow(t *testing.T, name, principal string) map[string][]byte {
	return map[string][]byte{"shop/" + name: encode(t, &security.Authorization{
		Name: name, Namespace: "shop", Scope: security.Scope_NAMESPACE,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{Principals: []*security.StringMatch{
			{MatchType: &security.StringMatch_Exact{Exact: principal}},
		}}}}}}},
	})}
}

// start runs a client against a new istiod that knows pod shop/web on 10.1.0.1.
func start(t *testing.T, prepare ...func(*istiodtest.Server)) (*istiodtest.Server, *state.Store, *Client) {
	t.Helper()
	server := istiodtest.Start(t)
	server.Set(AddressType, workload(t, "shop", "web", "10.1.0.1"))
	for _, one := range prepare {
		one(server)
	}
	store := state.New(state.Config{ClusterID: "Kubernetes", RootNamespace: "istio-system"})
	client := &Client{
		Istiod: server.Config(), Sink: store, Log: slog.New(slog.DiscardHandler), FirstPause: time.Millisecond, LastPause: 20 * time.Millisecond,
		Node: Node{IP: "10.0.0.1", PodName: "proxy-1", Namespace: "istio-system", ServiceAccount: "ztunnel", NodeName: "n1", ClusterID: "Kubernetes"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { client.Run(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if faults := server.Faults(); len(faults) > 0 {
			t.Errorf("the client did wrong: %v", faults)
		}
	})
	return server, store, client
}

func allowed(store *state.Store) bool {
	return store.Inbound(shop, mesh.Connection{
		Source: netip.MustParseAddr("10.1.0.9"), Destination: netip.MustParseAddrPort("10.1.0.1:80"), Identity: caller,
	}).Allowed
}

func action(store *state.Store, address string) mesh.Action {
	return store.Outbound(shop, netip.MustParseAddrPort(address)).Action
}

func streams(client *Client) uint64 { return client.Status().Streams }

func TestTheFirstStateAndItsChanges(t *testing.T) {
	server, store, client := start(t)
	istiodtest.Eventually(t, "ready", store.Ready)
	if !allowed(store) {
		t.Fatal("refused without a policy")
	}
	server.Push(AuthorizationType, allow(t, "one", "cluster.local/ns/data/sa/other"))
	istiodtest.Eventually(t, "the policy restricts", func() bool { return !allowed(store) })
	server.Push(AuthorizationType, allow(t, "two", caller))
	istiodtest.Eventually(t, "the second policy allows, beside the first", func() bool { return allowed(store) })
	server.Push(AuthorizationType, nil, "shop/two")
	istiodtest.Eventually(t, "its removal refuses", func() bool { return !allowed(store) })
	server.Push(AddressType, workload(t, "data", "api", "10.1.0.2"))
	istiodtest.Eventually(t, "the pod is known", func() bool { return action(store, "10.1.0.2:80") == mesh.Tunnel })
	if action(store, "10.1.0.9:80") != mesh.PassThrough {
		t.Error("an unknown address is not passed through")
	}
	istiodtest.Eventually(t, "all is counted", func() bool { return client.Status().Responses == 6 })
	var acknowledged, rejected int
	for _, request := range server.Requests() {
		if request.GetErrorDetail() != nil {
			rejected++
		} else if request.GetResponseNonce() != "" {
			acknowledged++
		}
	}
	if rejected != 0 || acknowledged < 5 {
		t.Errorf("%d responses were acknowledged and %d rejected", acknowledged, rejected)
	}
}

// Cut the stream, delete an ALLOW policy and a pod, reconnect: the caller is refused and the pod is gone.
func TestAPermissionThatWasDeletedWhileTheStreamWasCut(t *testing.T) {
	server, store, client := start(t, func(s *istiodtest.Server) {
		s.Set(AuthorizationType, allow(t, "one", "cluster.local/ns/data/sa/other"))
		s.Set(AuthorizationType, allow(t, "two", caller))
		s.Set(AddressType, workload(t, "data", "api", "10.1.0.2"))
	})
	istiodtest.Eventually(t, "allowed", func() bool { return allowed(store) && action(store, "10.1.0.2:80") == mesh.Tunnel })
	server.Down()
	istiodtest.Eventually(t, "the loss is noticed", func() bool { return !client.Status().Connected && client.Status().LastError != "" })
	if !allowed(store) || !store.Ready() {
		t.Fatal("the held state does not serve while istiod is away")
	}
	server.Set(AuthorizationType, nil, "shop/two")
	server.Set(AddressType, nil, "Kubernetes//Pod/data/api")
	server.Up()
	istiodtest.Eventually(t, "refused after the reconnect", func() bool { return !allowed(store) })
	istiodtest.Eventually(t, "the pod is gone", func() bool { return action(store, "10.1.0.2:80") == mesh.PassThrough })
}

func TestAnEmptyAnswerIsAState(t *testing.T) {
	server, store, client := start(t, func(s *istiodtest.Server) {
		s.Set(AuthorizationType, allow(t, "one", "cluster.local/ns/data/sa/other"))
	})
	istiodtest.Eventually(t, "ready", store.Ready)
	if allowed(store) {
		t.Fatal("the policy does not restrict")
	}
	server.Set(AuthorizationType, nil, "shop/one")
	server.Set(AddressType, nil, "Kubernetes//Pod/shop/web")
	server.Cut()
	istiodtest.Eventually(t, "a second stream", func() bool { return streams(client) == 2 })
	istiodtest.Eventually(t, "the pod is gone", func() bool { _, err := store.Identity(shop); return err != nil })
	if allowed(store) {
		t.Error("a pod that istiod does not know is open")
	}
}

func TestABadResourceIsRejectedAlone(t *testing.T) {
	server, store, client := start(t)
	istiodtest.Eventually(t, "ready", store.Ready)
	server.Requests()
	good, bad := workload(t, "data", "api", "10.1.0.2"), map[string][]byte{"Kubernetes//Pod/data/bad": {0xff}}
	for name, data := range bad {
		good[name] = data
	}
	server.Push(AddressType, good)
	istiodtest.Eventually(t, "the good one is applied", func() bool { return action(store, "10.1.0.2:80") == mesh.Tunnel })
	istiodtest.Eventually(t, "the bad one is named", func() bool {
		for _, request := range server.Requests() {
			if strings.Contains(request.GetErrorDetail().GetMessage(), "Kubernetes//Pod/data/bad") {
				return true
			}
		}
		return false
	})
	server.Push(AuthorizationType, map[string][]byte{"shop/bad": {0xff}})
	istiodtest.Eventually(t, "a policy that cannot be read denies", func() bool { return !allowed(store) })
	server.Push(AuthorizationType, nil, "shop/bad")
	istiodtest.Eventually(t, "its removal opens", func() bool { return allowed(store) })
	server.Send(&discovery.DeltaDiscoveryResponse{TypeUrl: AuthorizationType, Resources: []*discovery.Resource{
		{Name: "shop/typed", Resource: &anypb.Any{TypeUrl: AddressType}},
	}})
	istiodtest.Eventually(t, "a policy of another type denies", func() bool { return !allowed(store) })
	if got := client.Status(); got.Streams != 1 || got.Rejected != 3 {
		t.Errorf("the stream was lost or a rejection not counted: %+v", got)
	}
}

func TestTheTokenIsReadAtEachDial(t *testing.T) {
	server, store, client := start(t)
	istiodtest.Eventually(t, "ready", store.Ready)
	server.SetToken("token-2", false)
	server.Cut()
	istiodtest.Eventually(t, "the old token is refused", func() bool { return strings.Contains(client.Status().LastError, "authentication failure") })
	server.SetToken("token-2", true)
	istiodtest.Eventually(t, "connected with the new token", func() bool { return client.Status().Connected })
}

func TestTheRootIsReadAtEachDial(t *testing.T) {
	server, store, client := start(t)
	istiodtest.Eventually(t, "ready", store.Ready)
	server.Down()
	server.CA = istiodtest.NewCA(t, "another root")
	server.Up()
	istiodtest.Eventually(t, "an istiod of another root is refused", func() bool { return strings.Contains(client.Status().LastError, "unknown authority") })
	server.WriteRoots(server.CA)
	istiodtest.Eventually(t, "connected by the new root", func() bool { return client.Status().Connected })
}

func TestManyReconnects(t *testing.T) {
	server, store, client := start(t)
	istiodtest.Eventually(t, "ready", store.Ready)
	server.Push(AddressType, workload(t, "data", "api", "10.1.0.2"))
	for i := range 20 {
		server.Cut()
		istiodtest.Eventually(t, fmt.Sprintf("stream %d", i+2), func() bool { return streams(client) >= uint64(i+2) && client.Status().Connected })
	}
	if !allowed(store) || action(store, "10.1.0.2:80") != mesh.Tunnel {
		t.Error("the state was lost by reconnecting")
	}
}

func TestASilentIstiodIsLeft(t *testing.T) {
	server := istiodtest.Start(t)
	config := server.Config()
	silent := &Client{
		Istiod: config, Sink: silentSink{}, Log: slog.New(slog.DiscardHandler), FirstPause: time.Millisecond, LastPause: time.Millisecond, AnswerTimeout: time.Nanosecond,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { silent.Run(ctx); close(done) }()
	istiodtest.Eventually(t, "it gives the stream up", func() bool { return strings.Contains(silent.Status().LastError, "does not answer") })
	cancel()
	<-done
}

type silentSink struct{}

func (silentSink) ApplyAddresses(bool, []string, []state.Resource) map[string]error { return nil }
func (silentSink) ApplyPolicies(bool, []string, []state.Resource) map[string]error  { return nil }
