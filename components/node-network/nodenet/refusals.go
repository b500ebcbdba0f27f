package nodenet

import (
	"fmt"
	"strconv"

	"sigs.k8s.io/knftables"
)

// serviceRules refuse what belongs to the range of Services and was not
// translated (kube-proxy translates declared ports only): it would leave the
// node by its default route, and where an outer network answers there, the
// client would talk to a stranger. They stand behind every translation of the
// destination, and before what lets established connections pass.
func serviceRules(s Snapshot) []string {
	if !s.ServiceCIDR.IsValid() {
		return nil
	}
	to := fmt.Sprintf("ip daddr %s ", s.ServiceCIDR)
	return []string{
		to + "meta l4proto tcp counter reject with tcp reset",
		to + "counter reject with icmp type port-unreachable",
	}
}

// closedAddressRules refuse what a pod sends to addresses beside the nodes
// that are the nodes' alone, such as their registry's: the node would send it
// on with its own address as the source, so nobody behind it could tell. They
// stand before what lets established connections pass.
func closedAddressRules(s Snapshot) []string {
	var rules []string
	for _, address := range s.ClosedAddresses {
		from := fmt.Sprintf("ip saddr %s ip daddr %s ", s.ClusterCIDR, address)
		rules = append(rules,
			from+"meta l4proto tcp counter reject with tcp reset",
			from+"counter reject with icmp type port-unreachable")
	}
	return rules
}

// closeNodePorts keeps pods from the given node ports, at any address of any
// node: kube-proxy gives such a connection a node's address as its source, and
// so it would pass the policies of its destination. The chain stands before
// kube-proxy's translation of the destination and after connection tracking,
// which tells answers from requests: an answer may go to any port.
func closeNodePorts(s Snapshot, rules Ruleset) {
	if len(s.ClosedPorts) == 0 {
		return
	}
	ports, nodes := map[string]string{}, map[string]string{}
	for _, port := range s.ClosedPorts {
		ports[strconv.Itoa(int(port))] = ""
	}
	for _, address := range s.NodeAddresses {
		nodes[address.String()] = ""
	}
	rules.Sets[closedSet] = Set{TypeOf: "tcp dport", Elements: ports}
	rules.Sets[nodesSet] = Set{TypeOf: "ip saddr", Elements: nodes}
	const refused = "meta l4proto { tcp, udp, sctp } th dport @" + closedSet + " counter drop"
	rules.Chains["prerouting-node-ports"] = Chain{
		Hook: &Hook{knftables.FilterType, knftables.PreroutingHook, "-110"},
		Rules: []string{
			"ct direction != original accept",
			// Any address of this node, the pods' gateway and 127.0.0.1 included.
			`iifname "veth*" fib daddr type local ` + refused,
			// Another node's: on its way the source is translated, so it must be refused here.
			`iifname "veth*" ip daddr @` + nodesSet + " " + refused,
			// From another node's pod to an address of the pods' range, which keeps its source.
			fmt.Sprintf("ip saddr %s fib daddr type local ", s.ClusterCIDR) + refused,
		},
	}
}
