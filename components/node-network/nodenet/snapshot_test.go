package nodenet

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestTakeSnapshot(t *testing.T) {
	local, cluster := netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("10.244.0.0/16")
	pod := func(name, node, address string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID("uid-" + name)},
			Spec:       corev1.PodSpec{NodeName: node},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: address}}},
		}
		if change != nil {
			change(p)
		}
		return p
	}
	sandbox := func(pod, uid, address string) Registration {
		return Registration{ContainerID: "c-" + pod, Namespace: "n", Name: pod, UID: uid, Addresses: []netip.Addr{netip.MustParseAddr(address)}}
	}
	noSandbox := func(status corev1.ConditionStatus) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReadyToStartContainers, Status: status}}
		}
	}
	tests := []struct {
		name      string
		pods      []*corev1.Pod
		sandboxes []Registration
		want      map[string]string // pod to its only address
	}{
		{"remote by status", []*corev1.Pod{pod("a", "far", "10.244.2.2", nil)}, nil, map[string]string{"a": "10.244.2.2"}},
		{"local by registration, not by status", []*corev1.Pod{pod("a", "here", "10.244.1.2", nil), pod("b", "here", "10.244.1.3", nil)},
			[]Registration{sandbox("b", "uid-b", "10.244.1.2")}, map[string]string{"b": "10.244.1.2"}},
		{"a namesake of the sandbox's pod", []*corev1.Pod{pod("a", "here", "10.244.1.2", nil)},
			[]Registration{sandbox("a", "older", "10.244.1.2")}, nil},
		{"static pod", []*corev1.Pod{pod("a", "here", "", func(p *corev1.Pod) { p.Annotations = map[string]string{mirroredUID: "file"} })},
			[]Registration{sandbox("a", "file", "10.244.1.2")}, map[string]string{"a": "10.244.1.2"}},
		{"host network", []*corev1.Pod{pod("a", "far", "10.244.2.2", func(p *corev1.Pod) { p.Spec.HostNetwork = true })}, nil, nil},
		{"succeeded and failed", []*corev1.Pod{
			pod("a", "far", "10.244.2.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
			pod("b", "far", "10.244.2.3", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}, nil, nil},
		{"a finished pod does not contest", []*corev1.Pod{
			pod("a", "far", "10.244.2.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
			pod("b", "far", "10.244.2.2", nil)}, nil, map[string]string{"b": "10.244.2.2"}},
		{"contested address belongs to nobody", []*corev1.Pod{pod("a", "far", "10.244.2.2", nil), pod("b", "far", "10.244.2.2", nil)}, nil, nil},
		{"the one without a sandbox lost it", []*corev1.Pod{
			pod("a", "far", "10.244.2.2", noSandbox(corev1.ConditionFalse)),
			pod("b", "far", "10.244.2.2", noSandbox(corev1.ConditionTrue))}, nil, map[string]string{"b": "10.244.2.2"}},
		{"a remote pod cannot claim a local address", []*corev1.Pod{pod("a", "far", "10.244.1.9", nil)}, nil, nil},
		{"IPv6 is left out", []*corev1.Pod{pod("a", "far", "fd00::1", nil)}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := TakeSnapshot("here", local, cluster, Objects{Pods: test.pods}, test.sandboxes)
			got := map[string]string{}
			for _, p := range s.Pods {
				for _, address := range p.Addresses {
					got[p.Name] = address.String()
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			for name, address := range test.want {
				if got[name] != address {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

func TestNamedPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	port := func(name string, number int32, protocol corev1.Protocol) []corev1.ContainerPort {
		return []corev1.ContainerPort{{Name: name, ContainerPort: number, Protocol: protocol}}
	}
	got := namedPorts(&corev1.Pod{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Ports: port("http", 80, "")}, {Ports: port("", 81, "")}, {Ports: port("dns", 53, corev1.ProtocolUDP)}},
		InitContainers: []corev1.Container{
			{Ports: port("setup", 90, "")}, {Ports: port("sidecar", 91, ""), RestartPolicy: &always}},
	}})
	want := []NamedPort{{"http", corev1.ProtocolTCP, 80}, {"dns", corev1.ProtocolUDP, 53}, {"sidecar", corev1.ProtocolTCP, 91}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDesiredRoutes(t *testing.T) {
	node := func(name, cidr, address string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: cidr},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}}}}
	}
	got := DesiredRoutes("here", []*corev1.Node{
		node("here", "10.244.0.0/24", "172.31.0.1"), node("far", "10.244.1.0/24", "172.31.0.2"),
		node("no-range", "", "172.31.0.3"), node("no-address", "10.244.3.0/24", ""), node("ipv6", "fd00::/64", "fd01::1")})
	if len(got) != 1 || got[netip.MustParsePrefix("10.244.1.0/24")] != netip.MustParseAddr("172.31.0.2") {
		t.Errorf("got %v, want the route to node far only", got)
	}
}
