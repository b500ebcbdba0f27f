package nodenet

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// mirroredUID is where the kubelet writes the UID it uses for a static pod;
// the API object of such a pod has a UID of its own.
const mirroredUID = "kubernetes.io/config.hash"

// NamedPort is a container port that policies can name.
type NamedPort struct {
	Name     string
	Protocol corev1.Protocol
	Port     uint16
}

// Pod is what policies see of a pod. Host-network and finished pods never
// become one: policies neither select nor match them.
type Pod struct {
	Namespace, Name string
	Labels          labels.Set
	Ports           []NamedPort
	Addresses       []netip.Addr
	// Local pods run on this node, which enforces both directions for them.
	Local bool
}

// Namespace holds what policies see of a namespace.
type Namespace struct {
	Labels          labels.Set
	ResourceVersion string
}

// Snapshot is the whole input of Evaluate.
type Snapshot struct {
	// LocalCIDR is this node's pod range, ClusterCIDR that of all nodes. IPv4.
	LocalCIDR, ClusterCIDR netip.Prefix
	// ServiceCIDR is the range of Services' addresses; not valid: nothing is done about it.
	ServiceCIDR netip.Prefix
	// ClosedAddresses are beside the nodes, and pods may not reach them.
	ClosedAddresses []netip.Addr
	// ClosedPorts are node ports that pods may not reach, NodeAddresses the addresses of all nodes.
	ClosedPorts   []uint16
	NodeAddresses []netip.Addr
	Namespaces    map[string]Namespace
	Pods          []Pod
	Policies      []*networkingv1.NetworkPolicy
	// Sandboxes are the container ids whose pod is part of this snapshot.
	Sandboxes map[string]bool
}

// Objects is the state of the informers.
type Objects struct {
	Namespaces []*corev1.Namespace
	Pods       []*corev1.Pod
	Policies   []*networkingv1.NetworkPolicy
}

// TakeSnapshot joins API objects with the sandboxes registered on this node.
//
// A local pod's address comes from its registration alone: right after a
// restart the addresses in the API are those of the previous life of the node
// and may already belong to another pod. Remote addresses come from the pods'
// status; one claimed by two live pods belongs to neither until that is
// resolved, so no pod inherits what another was granted.
func TakeSnapshot(node string, local, cluster netip.Prefix, objects Objects, sandboxes []Registration) Snapshot {
	s := Snapshot{
		LocalCIDR: local, ClusterCIDR: cluster,
		Namespaces: make(map[string]Namespace, len(objects.Namespaces)),
		Policies:   append([]*networkingv1.NetworkPolicy(nil), objects.Policies...),
		Sandboxes:  map[string]bool{},
	}
	for _, ns := range objects.Namespaces {
		s.Namespaces[ns.Name] = Namespace{Labels: ns.Labels, ResourceVersion: ns.ResourceVersion}
	}
	sort.Slice(s.Policies, func(i, j int) bool {
		return policyKey(s.Policies[i]) < policyKey(s.Policies[j])
	})
	byPod := map[types.NamespacedName][]Registration{}
	for _, r := range sandboxes {
		key := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
		byPod[key] = append(byPod[key], r)
	}
	claims := map[netip.Addr]int{}
	for _, object := range objects.Pods {
		if object.Spec.HostNetwork || finished(object) {
			continue
		}
		pod := Pod{Namespace: object.Namespace, Name: object.Name, Labels: object.Labels, Ports: namedPorts(object)}
		if object.Spec.NodeName == node {
			pod.Local = true
			for _, r := range byPod[types.NamespacedName{Namespace: object.Namespace, Name: object.Name}] {
				if r.UID == string(object.UID) || r.UID == object.Annotations[mirroredUID] {
					pod.Addresses = append(pod.Addresses, r.Addresses...)
					s.Sandboxes[r.ContainerID] = true
				}
			}
		} else {
			pod.Addresses = statusAddresses(object, local)
		}
		if len(pod.Addresses) == 0 {
			continue
		}
		for _, address := range pod.Addresses {
			claims[address]++
		}
		s.Pods = append(s.Pods, pod)
	}
	for i := range s.Pods {
		kept := s.Pods[i].Addresses[:0]
		for _, address := range s.Pods[i].Addresses {
			if claims[address] == 1 {
				kept = append(kept, address)
			}
		}
		s.Pods[i].Addresses = kept
	}
	sort.Slice(s.Pods, func(i, j int) bool {
		a, b := s.Pods[i], s.Pods[j]
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	return s
}

func policyKey(policy *networkingv1.NetworkPolicy) string {
	return policy.Namespace + "/" + policy.Name
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// statusAddresses are the IPv4 addresses a remote pod holds. A pod whose
// sandbox is gone still shows its last address, which may be another's by now.
func statusAddresses(pod *corev1.Pod, local netip.Prefix) []netip.Addr {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReadyToStartContainers && condition.Status == corev1.ConditionFalse {
			return nil
		}
	}
	var found []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		address, err := netip.ParseAddr(ip.IP)
		if err == nil && address.Is4() && !local.Contains(address) {
			found = append(found, address)
		}
	}
	return found
}

// namedPorts lists the ports of all containers that run beside each other:
// ordinary ones and init containers that stay (sidecars).
func namedPorts(pod *corev1.Pod) []NamedPort {
	var ports []NamedPort
	collect := func(c *corev1.Container) {
		for _, port := range c.Ports {
			if port.Name == "" {
				continue
			}
			protocol := port.Protocol
			if protocol == "" {
				protocol = corev1.ProtocolTCP
			}
			ports = append(ports, NamedPort{Name: port.Name, Protocol: protocol, Port: uint16(port.ContainerPort)})
		}
	}
	for i := range pod.Spec.Containers {
		collect(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			collect(c)
		}
	}
	return ports
}
