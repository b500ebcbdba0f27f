package truthtable

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The oracle answers one question about one connection, straight from the API
// reference of networking.k8s.io/v1. It shares no code with the evaluator, on
// purpose: no sets, no ranges, no helper of apimachinery for selectors.

// end is one end of a connection.
type end struct {
	name    string
	address netip.Addr
	node    string      // the node it is, or runs on; "" outside
	pod     *corev1.Pod // nil for nodes and the outside
}

type oracle struct {
	namespaces map[string]map[string]string
	policies   []*networkingv1.NetworkPolicy
}

// verdict says whether a new connection may leave its source and enter its
// destination. Each half is enforced by the node of that end.
type verdict struct{ leaves, enters bool }

func (v verdict) passes() bool { return v.leaves && v.enters }

func (o oracle) judge(from, to end, protocol corev1.Protocol, port int) verdict {
	if from.pod != nil && from.pod == to.pod {
		return verdict{true, true}
	}
	return verdict{o.leaves(from, to, protocol, port), o.enters(from, to, protocol, port)}
}

// steady tells whether a connection's fate is the same all the way from one
// verdict to the next. Two nodes change one after the other, so every mixture
// of their halves counts; one node changes both halves at once.
func steady(before, after verdict, sameNode bool) bool {
	if sameNode {
		return before.passes() == after.passes()
	}
	mixed := [2]verdict{{before.leaves, after.enters}, {after.leaves, before.enters}}
	return before.passes() == after.passes() && mixed[0].passes() == after.passes() && mixed[1].passes() == after.passes()
}

func (o oracle) leaves(from, to end, protocol corev1.Protocol, port int) bool {
	if from.pod == nil {
		return true
	}
	isolated := false
	for _, policy := range o.policies {
		if !o.governs(policy, from.pod, networkingv1.PolicyTypeEgress) {
			continue
		}
		isolated = true
		for _, rule := range policy.Spec.Egress {
			if o.peerIn(policy, rule.To, to) && portIn(rule.Ports, to, protocol, port) {
				return true
			}
		}
	}
	return !isolated
}

func (o oracle) enters(from, to end, protocol corev1.Protocol, port int) bool {
	if to.pod == nil {
		return true
	}
	if from.pod == nil && from.node == to.node {
		return true // a node's own processes (kubelet probes) reach its pods
	}
	isolated := false
	for _, policy := range o.policies {
		if !o.governs(policy, to.pod, networkingv1.PolicyTypeIngress) {
			continue
		}
		isolated = true
		for _, rule := range policy.Spec.Ingress {
			if o.peerIn(policy, rule.From, from) && portIn(rule.Ports, to, protocol, port) {
				return true
			}
		}
	}
	return !isolated
}

func (o oracle) governs(policy *networkingv1.NetworkPolicy, pod *corev1.Pod, kind networkingv1.PolicyType) bool {
	if policy.Namespace != pod.Namespace || !chosen(policy.Spec.PodSelector, pod.Labels) {
		return false
	}
	if policy.Spec.PolicyTypes == nil {
		return kind == networkingv1.PolicyTypeIngress || policy.Spec.Egress != nil
	}
	for _, each := range policy.Spec.PolicyTypes {
		if each == kind {
			return true
		}
	}
	return false
}

func (o oracle) peerIn(policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, other end) bool {
	if len(peers) == 0 {
		return true
	}
	for _, peer := range peers {
		switch {
		case peer.IPBlock != nil:
			if inBlock(peer.IPBlock, other.address) {
				return true
			}
		case other.pod == nil:
		case peer.NamespaceSelector == nil:
			if other.pod.Namespace == policy.Namespace && chosen(*peer.PodSelector, other.pod.Labels) {
				return true
			}
		case peer.PodSelector == nil:
			if chosen(*peer.NamespaceSelector, o.namespaces[other.pod.Namespace]) {
				return true
			}
		default:
			if chosen(*peer.NamespaceSelector, o.namespaces[other.pod.Namespace]) && chosen(*peer.PodSelector, other.pod.Labels) {
				return true
			}
		}
	}
	return false
}

func inBlock(block *networkingv1.IPBlock, address netip.Addr) bool {
	if !netip.MustParsePrefix(block.CIDR).Contains(address) {
		return false
	}
	for _, except := range block.Except {
		if netip.MustParsePrefix(except).Contains(address) {
			return false
		}
	}
	return true
}

func portIn(ports []networkingv1.NetworkPolicyPort, to end, protocol corev1.Protocol, number int) bool {
	if len(ports) == 0 {
		return true
	}
	for _, port := range ports {
		want := corev1.ProtocolTCP
		if port.Protocol != nil {
			want = *port.Protocol
		}
		if want != protocol {
			continue
		}
		switch {
		case port.Port == nil:
			return true
		case port.Port.Type == intstr.String:
			if to.pod == nil {
				continue
			}
			for _, c := range to.pod.Spec.Containers {
				for _, p := range c.Ports {
					if p.Name == port.Port.StrVal && p.Protocol == protocol && int(p.ContainerPort) == number {
						return true
					}
				}
			}
		case port.EndPort != nil:
			if number >= int(port.Port.IntVal) && number <= int(*port.EndPort) {
				return true
			}
		case int(port.Port.IntVal) == number:
			return true
		}
	}
	return false
}

func chosen(selector metav1.LabelSelector, labels map[string]string) bool {
	for key, value := range selector.MatchLabels {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	for _, e := range selector.MatchExpressions {
		have, present := labels[e.Key]
		listed := false
		for _, value := range e.Values {
			listed = listed || (present && value == have)
		}
		var ok bool
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			ok = listed
		case metav1.LabelSelectorOpNotIn:
			ok = !listed
		case metav1.LabelSelectorOpExists:
			ok = present
		case metav1.LabelSelectorOpDoesNotExist:
			ok = !present
		}
		if !ok {
			return false
		}
	}
	return true
}
