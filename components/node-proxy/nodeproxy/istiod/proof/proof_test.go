//go:build istiod

// Package proof runs discovery and state against istiod's own discovery service, fed by a Kubernetes API of its test kit: what the other
// tests assume of istiod is checked here. It compiles most of istiod; run it with: go test -tags istiod ./nodeproxy/istiod/proof
package proof

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"istio.io/api/annotation"
	"istio.io/api/security/v1beta1"
	selector "istio.io/api/type/v1beta1"
	securityclient "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	istiosecurity "istio.io/istio/pkg/security"

	"bookstore.platform/istio/nodeproxy/discovery"
	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/state"
)

func init() { features.EnableAmbient = true }

func pod(name, address string, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", Labels: map[string]string{"app": name},
			Annotations: map[string]string{annotation.AmbientRedirection.Name: constants.AmbientRedirectionEnabled},
		},
		Spec: corev1.PodSpec{ServiceAccountName: name, NodeName: "n1", Containers: []corev1.Container{
			{Name: "app", Ports: []corev1.ContainerPort{{Name: "main", ContainerPort: 8080, Protocol: "TCP"}}},
		}},
		Status: corev1.PodStatus{
			PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}, Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.Now()}},
		},
	}
}

func service(name, address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.ServiceSpec{
			ClusterIP: address, ClusterIPs: []string{address}, Selector: map[string]string{"app": name}, Type: corev1.ServiceTypeClusterIP,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Name: "tcp", Port: 80, TargetPort: intstr.FromString("main"), Protocol: "TCP"}},
		},
	}
}

func policy(name string, action v1beta1.AuthorizationPolicy_Action, rules ...*v1beta1.Rule) *securityclient.AuthorizationPolicy {
	return &securityclient.AuthorizationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: v1beta1.AuthorizationPolicy{
			Action: action, Rules: rules, Selector: &selector.WorkloadSelector{MatchLabels: map[string]string{"app": "server"}},
		},
	}
}

func from(principal string) *v1beta1.Rule {
	return &v1beta1.Rule{From: []*v1beta1.Rule_From{{Source: &v1beta1.Source{Principals: []string{principal}}}}}
}

const client, other = "cluster.local/ns/default/sa/client", "cluster.local/ns/default/sa/other"

// nodeAccount stands in for the API server's review of tokens. Whom the node claims to be is then compared by istiod.
type nodeAccount struct{}

func (nodeAccount) AuthenticatorType() string { return "test" }

func (nodeAccount) Authenticate(asked istiosecurity.AuthContext) (*istiosecurity.Caller, error) {
	token, err := istiosecurity.ExtractBearerToken(asked.GrpcContext)
	if err != nil || token != "token-1" {
		return nil, fmt.Errorf("the token is %q (%w)", token, err)
	}
	return &istiosecurity.Caller{
		Identities: []string{"spiffe://cluster.local/ns/istio-system/sa/ztunnel"},
		KubernetesInfo: istiosecurity.KubernetesInfo{
			PodName: "proxy-1", PodNamespace: "istio-system", PodUID: "uid-1", PodServiceAccount: "ztunnel",
		},
	}, nil
}

func TestAgainstIstiodItself(t *testing.T) {
	real := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{KubernetesObjects: []runtime.Object{
		pod("client", "10.1.0.1", true), pod("server", "10.1.0.2", true), pod("gone", "10.1.0.3", true), service("server", "10.2.0.1"),
	}})
	real.Discovery.Authenticators = []istiosecurity.Authenticator{nodeAccount{}}
	front := istiodtest.StartFor(t, real.Discovery, nil)
	store := state.New(state.Config{ClusterID: "Kubernetes", RootNamespace: "istio-system"})
	stream := &discovery.Client{
		Istiod: front.Config(), Sink: store, Log: slog.New(slog.DiscardHandler), FirstPause: time.Millisecond, LastPause: 50 * time.Millisecond,
		Node: discovery.Node{
			IP: "10.0.0.1", PodName: "proxy-1", Namespace: "istio-system", ServiceAccount: "ztunnel", NodeName: "n1", ClusterID: "Kubernetes",
			IstioVersion: "1.31.0",
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { stream.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })

	caller := mesh.Pod{UID: "1", Name: "client", Namespace: "default", ServiceAccount: "client"}
	served := mesh.Pod{UID: "2", Name: "server", Namespace: "default", ServiceAccount: "server"}
	enters := func(identity string) bool {
		return store.Inbound(served, mesh.Connection{
			Source: netip.MustParseAddr("10.1.0.1"), Destination: netip.MustParseAddrPort("10.1.0.2:80"), Identity: identity,
		}).Allowed
	}
	action := func(address string) mesh.Action {
		return store.Outbound(caller, netip.MustParseAddrPort(address)).Action
	}
	istiodtest.Eventually(t, "the first state", store.Ready)
	istiodtest.Eventually(t, "the pods", func() bool { return action("10.1.0.3:80") == mesh.Tunnel && enters("") })

	if identity, err := store.Identity(caller); err != nil || identity != "spiffe://"+client {
		t.Errorf("identity %q, %v", identity, err)
	}
	route := store.Outbound(caller, netip.MustParseAddrPort("10.2.0.1:80"))
	if route.Action != mesh.Tunnel || route.Target.String() != "10.1.0.2:8080" || !slices.Equal(route.Accepted, []string{"spiffe://cluster.local/ns/default/sa/server"}) {
		t.Errorf("route to the service: %+v", route)
	}
	if addresses, known := store.Resolve(caller, "server"); !known || !slices.Equal(addresses, []netip.Addr{netip.MustParseAddr("10.2.0.1")}) {
		t.Errorf("the service's name: %v", addresses)
	}

	authentication := clienttest.NewWriter[*securityclient.PeerAuthentication](t, real.KubeClient())
	authentication.Create(&securityclient.PeerAuthentication{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "istio-system"},
		Spec:       v1beta1.PeerAuthentication{Mtls: &v1beta1.PeerAuthentication_MutualTLS{Mode: v1beta1.PeerAuthentication_MutualTLS_STRICT}},
	})
	istiodtest.Eventually(t, "STRICT refuses plaintext", func() bool { return !enters("") })
	istiodtest.Eventually(t, "STRICT lets tunnels in", func() bool { return enters(client) && enters(other) })

	policies := clienttest.NewWriter[*securityclient.AuthorizationPolicy](t, real.KubeClient())
	policies.Create(policy("one", v1beta1.AuthorizationPolicy_ALLOW, from(other)))
	policies.Create(policy("two", v1beta1.AuthorizationPolicy_ALLOW, from(client)))
	istiodtest.Eventually(t, "both are allowed by name", func() bool { return enters(client) && enters(other) && !enters("cluster.local/ns/default/sa/third") })

	// While the stream is cut an ALLOW policy and a pod are deleted.
	front.Down()
	istiodtest.Eventually(t, "the loss is noticed", func() bool { return !stream.Status().Connected })
	policies.Delete("two", "default")
	clienttest.NewWriter[*corev1.Pod](t, real.KubeClient()).Delete("gone", "default")
	if !enters(client) {
		t.Error("the held state does not serve while istiod is away")
	}
	front.Up()
	istiodtest.Eventually(t, "the deleted permission is gone", func() bool { return !enters(client) && enters(other) })
	istiodtest.Eventually(t, "the deleted pod is gone", func() bool { return action("10.1.0.3:80") == mesh.PassThrough })

	// Rules of HTTP: a DENY is enforced without them, an ALLOW lets nobody in.
	get := []*v1beta1.Rule_To{{Operation: &v1beta1.Operation{Methods: []string{"GET"}}}}
	policies.Create(policy("three", v1beta1.AuthorizationPolicy_ALLOW, &v1beta1.Rule{To: get}))
	policies.Create(policy("four", v1beta1.AuthorizationPolicy_DENY, &v1beta1.Rule{To: get}))
	istiodtest.Eventually(t, "a DENY by method denies all", func() bool { return !enters(other) })
	policies.Delete("four", "default")
	istiodtest.Eventually(t, "an ALLOW by method allows nobody else", func() bool { return enters(other) && !enters(client) })

	clienttest.NewWriter[*corev1.Pod](t, real.KubeClient()).UpdateStatus(pod("server", "10.1.0.2", false))
	istiodtest.Eventually(t, "no endpoint is ready", func() bool { return action("10.2.0.1:80") == mesh.Refuse })
	if got := stream.Status(); got.Rejected != 0 {
		t.Errorf("istiod's own resources were rejected: %+v", got)
	}
}
