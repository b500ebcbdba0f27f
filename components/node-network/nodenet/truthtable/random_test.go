package truthtable

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// source makes random policies out of a vocabulary small enough that they
// often meet. The same seed makes the same policies.
type source struct{ *rand.Rand }

func (r source) chance(percent int) bool { return r.IntN(100) < percent }

func pick[T any](r source, list []T) T { return list[r.IntN(len(list))] }

func (r source) podLabels() map[string]string {
	labels := map[string]string{"app": pick(r, []string{"a", "b", "c"})}
	if r.chance(60) {
		labels["tier"] = pick(r, []string{"x", "y"})
	}
	return labels
}

func (r source) namespaceLabels(name string) map[string]string {
	labels := map[string]string{"kubernetes.io/metadata.name": name}
	if r.chance(70) {
		labels["team"] = pick(r, []string{"red", "blue"})
	}
	return labels
}

func (r source) selector(keys map[string][]string) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	names := []string{"app", "tier", "team", "kubernetes.io/metadata.name"}
	for _, key := range names {
		values, ok := keys[key]
		if !ok || r.chance(55) {
			continue
		}
		switch r.IntN(5) {
		case 0:
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
				Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{pick(r, values), pick(r, values)}})
		case 1:
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
				Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: []string{pick(r, values)}})
		case 2:
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
				Key: key, Operator: pick(r, []metav1.LabelSelectorOperator{metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist})})
		default:
			if s.MatchLabels == nil {
				s.MatchLabels = map[string]string{}
			}
			s.MatchLabels[key] = pick(r, values)
		}
	}
	return s
}

func (r source) pods() *metav1.LabelSelector {
	return r.selector(map[string][]string{"app": {"a", "b", "c"}, "tier": {"x", "y"}})
}

func (r source) spaces() *metav1.LabelSelector {
	return r.selector(map[string][]string{"team": {"red", "blue"}, "kubernetes.io/metadata.name": namespaces})
}

var blocks = []networkingv1.IPBlock{
	{CIDR: "0.0.0.0/0"},
	{CIDR: "0.0.0.0/0", Except: []string{"10.244.0.0/16"}},
	{CIDR: "10.244.1.0/24", Except: []string{"10.244.1.11/32", "10.244.1.12/31"}},
	{CIDR: "10.244.0.0/16", Except: []string{"10.244.2.0/24"}},
	{CIDR: "10.244.2.12/31"},
	{CIDR: "172.31.0.0/24", Except: []string{"172.31.0.100/32", "172.31.0.12/32"}},
	{CIDR: "172.31.0.101/32"},
	{CIDR: "fd00::/8"},
}

func (r source) peers() []networkingv1.NetworkPolicyPeer {
	if r.chance(15) {
		return nil
	}
	var peers []networkingv1.NetworkPolicyPeer
	for range 1 + r.IntN(2) {
		var peer networkingv1.NetworkPolicyPeer
		switch r.IntN(4) {
		case 0:
			block := pick(r, blocks)
			peer.IPBlock = &block
		case 1:
			peer.PodSelector = r.pods()
		case 2:
			peer.NamespaceSelector = r.spaces()
		default:
			peer.PodSelector, peer.NamespaceSelector = r.pods(), r.spaces()
		}
		peers = append(peers, peer)
	}
	return peers
}

func (r source) ports() []networkingv1.NetworkPolicyPort {
	if r.chance(30) {
		return nil
	}
	var ports []networkingv1.NetworkPolicyPort
	for range 1 + r.IntN(2) {
		var port networkingv1.NetworkPolicyPort
		if r.chance(60) {
			protocol := pick(r, []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolUDP, corev1.ProtocolSCTP})
			port.Protocol = &protocol
		}
		switch r.IntN(4) {
		case 0: // the whole protocol
		case 1:
			name := intstr.FromString(pick(r, []string{"web", "data", "absent"}))
			port.Port = &name
		case 2:
			first := intstr.FromInt32(pick(r, []int32{80, 81, 443}))
			last := pick(r, []int32{443, 443, 5000, 5432})
			port.Port, port.EndPort = &first, &last
		default:
			number := intstr.FromInt32(int32(pick(r, portList)))
			port.Port = &number
		}
		ports = append(ports, port)
	}
	return ports
}

func (r source) policy(namespace, name string, generation int64) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Generation: generation, UID: uid(namespace, name, fmt.Sprint(generation))}}
	p.Spec.PodSelector = *r.pods()
	for range r.IntN(3) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: r.peers(), Ports: r.ports()})
	}
	for range r.IntN(3) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: r.peers(), Ports: r.ports()})
	}
	switch r.IntN(4) {
	case 0:
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	case 1:
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	case 2:
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	}
	return p
}
