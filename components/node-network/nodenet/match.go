package nodenet

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// addressRange is an inclusive range of IPv4 addresses.
type addressRange struct{ first, last netip.Addr }

// String is the range in nft syntax.
func (r addressRange) String() string {
	if r.first == r.last {
		return r.first.String()
	}
	return r.first.String() + "-" + r.last.String()
}

// blockRange turns an ipBlock into ranges, its exceptions cut out. An IPv6
// block is empty here, as pods have IPv4 addresses only.
func blockRange(block *networkingv1.IPBlock) ([]addressRange, error) {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return nil, fmt.Errorf("cidr %q: %w", block.CIDR, err)
	}
	if !prefix.Addr().Is4() {
		return nil, nil
	}
	kept := []addressRange{rangeOf(prefix)}
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("except %q: %w", text, err)
		}
		if except.Addr().Is4() {
			kept = cut(kept, rangeOf(except))
		}
	}
	return kept, nil
}

func rangeOf(prefix netip.Prefix) addressRange {
	first := prefix.Masked().Addr()
	bytes := first.As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	return addressRange{first, netip.AddrFrom4(bytes)}
}

func cut(ranges []addressRange, hole addressRange) []addressRange {
	var kept []addressRange
	for _, r := range ranges {
		if r.last.Less(hole.first) || hole.last.Less(r.first) {
			kept = append(kept, r)
			continue
		}
		if r.first.Less(hole.first) {
			kept = append(kept, addressRange{r.first, hole.first.Prev()})
		}
		if hole.last.Less(r.last) {
			kept = append(kept, addressRange{hole.last.Next(), r.last})
		}
	}
	return kept
}

// union merges overlapping and adjacent ranges: an interval set refuses overlaps.
func union(ranges []addressRange) []addressRange {
	sort.Slice(ranges, func(i, j int) bool { return ranges[i].first.Less(ranges[j].first) })
	var merged []addressRange
	for _, r := range ranges {
		if n := len(merged); n > 0 && (!merged[n-1].last.Less(r.first) || merged[n-1].last.Next() == r.first) {
			if merged[n-1].last.Less(r.last) {
				merged[n-1].last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// portRange is an inclusive range of ports.
type portRange struct{ first, last uint16 }

// protocols in the order in which rules are written.
var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// portMatches returns the nft matches of a rule's ports, any of which may
// hold; a rule without ports matches everything (""). Named ports are looked
// up in the destination pod; with none given (egress) they are left out.
func portMatches(ports []networkingv1.NetworkPolicyPort, destination *Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	every := map[corev1.Protocol]bool{}
	ranges := map[corev1.Protocol][]portRange{}
	for _, port := range ports {
		protocol := protocolOf(port)
		switch {
		case port.Port == nil:
			every[protocol] = true
		case port.Port.Type == intstr.String:
			for _, number := range resolve(destination, protocol, port.Port.StrVal) {
				ranges[protocol] = append(ranges[protocol], portRange{number, number})
			}
		default:
			r := portRange{uint16(port.Port.IntVal), uint16(port.Port.IntVal)}
			if port.EndPort != nil {
				r.last = uint16(*port.EndPort)
			}
			ranges[protocol] = append(ranges[protocol], r)
		}
	}
	var found []string
	for _, protocol := range protocols {
		lower := strings.ToLower(string(protocol))
		if every[protocol] {
			found = append(found, "meta l4proto "+lower)
		} else if len(ranges[protocol]) > 0 {
			found = append(found, fmt.Sprintf("%s dport { %s }", lower, portList(ranges[protocol])))
		}
	}
	return found
}

func portList(ranges []portRange) string {
	sort.Slice(ranges, func(i, j int) bool { return ranges[i].first < ranges[j].first })
	var merged []portRange
	for _, r := range ranges {
		if n := len(merged); n > 0 && int(r.first) <= int(merged[n-1].last)+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	var list []string
	for _, r := range merged {
		if r.first == r.last {
			list = append(list, fmt.Sprint(r.first))
		} else {
			list = append(list, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	return strings.Join(list, ", ")
}

func protocolOf(port networkingv1.NetworkPolicyPort) corev1.Protocol {
	if port.Protocol == nil {
		return corev1.ProtocolTCP
	}
	return *port.Protocol
}

// resolve returns the numbers that a port name has in a pod.
func resolve(pod *Pod, protocol corev1.Protocol, name string) []uint16 {
	if pod == nil {
		return nil
	}
	var numbers []uint16
	for _, port := range pod.Ports {
		if port.Name == name && port.Protocol == protocol {
			numbers = append(numbers, port.Port)
		}
	}
	return numbers
}

func hasNamedPort(ports []networkingv1.NetworkPolicyPort) bool {
	for _, port := range ports {
		if port.Port != nil && port.Port.Type == intstr.String {
			return true
		}
	}
	return false
}

// namedPortSet resolves an egress rule's port names in each destination pod:
// address, protocol and number belong together, as pods may give one name to
// different numbers. It returns the set's name.
func (e *evaluation) namedPortSet(policy *networkingv1.NetworkPolicy, names ruleNames,
	peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) string {
	name := names.set("named")
	if _, done := e.rules.Sets[name]; done {
		return name
	}
	elements := map[string]string{}
	blocks := e.blockRanges(policy, peers)
	for i := range e.snapshot.Pods {
		pod := &e.snapshot.Pods[i]
		byLabels := len(peers) == 0 || e.selected(policy, peers, pod)
		for _, address := range pod.Addresses {
			if !byLabels && !within(blocks, address) {
				continue
			}
			for _, port := range ports {
				if port.Port == nil || port.Port.Type != intstr.String {
					continue
				}
				protocol := protocolOf(port)
				for _, number := range resolve(pod, protocol, port.Port.StrVal) {
					elements[fmt.Sprintf("%s . %s . %d", address, strings.ToLower(string(protocol)), number)] = ""
				}
			}
		}
	}
	e.rules.Sets[name] = Set{TypeOf: "ip daddr . meta l4proto . th dport", Elements: elements}
	return name
}

func within(ranges []addressRange, address netip.Addr) bool {
	for _, r := range ranges {
		if !address.Less(r.first) && !r.last.Less(address) {
			return true
		}
	}
	return false
}
