package nodenet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/knftables"
)

// Names of the sets that the base chains use.
const (
	knownSet   = "known-addresses"
	ingressMap = "ingress-chains"
	egressMap  = "egress-chains"
	nodesSet   = "nodes"
	closedSet  = "closed-ports"
	// Sets with this prefix are named by their content.
	blocksPrefix = "blocks-"
	// setsAs is part of every set's name that has a hash, and changes with how
	// sets are declared: then an agent makes new ones beside those it takes over.
	setsAs = "typeof"
)

// direction is the side of a connection that a rule speaks about.
type direction struct {
	policyType networkingv1.PolicyType
	short      string // prefix of chain names
	vmap       string // verdict map from pod address to chain
	peer       string // nft expression of the other end's address
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "in", ingressMap, "ip saddr"}
	egress  = direction{networkingv1.PolicyTypeEgress, "out", egressMap, "ip daddr"}
)

// Evaluate computes the node's ruleset. The error lists selectors that do not
// parse; the ruleset is complete all the same and treats them strictly: a
// broken subject selects every pod of its namespace, a broken peer nobody.
func Evaluate(s Snapshot) (Ruleset, error) {
	e := evaluation{snapshot: s, rules: baseRuleset(s)}
	for i := range s.Pods {
		pod := &s.Pods[i]
		if !pod.Local {
			continue
		}
		for _, address := range pod.Addresses {
			e.rules.Sets[knownSet].Elements[address.String()] = ""
		}
		e.subject(pod, ingress)
		e.subject(pod, egress)
	}
	return e.rules, errors.Join(e.errs...)
}

type evaluation struct {
	snapshot Snapshot
	rules    Ruleset
	errs     []error
}

// subject adds the chain of one local pod in one direction, if any policy
// isolates it there.
func (e *evaluation) subject(pod *Pod, d direction) {
	var rules []string
	isolated := false
	for _, policy := range e.snapshot.Policies {
		if policy.Namespace != pod.Namespace || !applies(policy, d.policyType) {
			continue
		}
		if selected, err := matches(&policy.Spec.PodSelector, pod.Labels); err != nil {
			e.fail(policy, "spec.podSelector", err)
		} else if !selected {
			continue
		}
		isolated = true
		rules = append(rules, e.policyRules(policy, pod, d)...)
	}
	if !isolated {
		return
	}
	name := objectName(d.short, pod.Namespace+"/"+pod.Name)
	var chain []string
	for _, address := range pod.Addresses {
		// A pod always reaches itself, also through a Service.
		chain = append(chain, fmt.Sprintf("ip saddr %s ip daddr %s accept", address, address))
		e.rules.Sets[d.vmap].Elements[address.String()] = "goto " + name
	}
	chain = append(append(chain, rules...), "counter drop")
	e.rules.Chains[name] = Chain{Rules: chain}
}

// policyRules are the accepting rules that one policy contributes to a pod.
func (e *evaluation) policyRules(policy *networkingv1.NetworkPolicy, pod *Pod, d direction) []string {
	var rules []string
	if d == ingress {
		for i := range policy.Spec.Ingress {
			rule := &policy.Spec.Ingress[i]
			names := ruleNames{fmt.Sprintf("%s/%s%d", policyKey(policy), d.short, i), rule.String()}
			for _, from := range e.peerMatches(policy, names, rule.From, d) {
				for _, port := range portMatches(rule.Ports, pod) {
					rules = append(rules, join(from, port, "accept"))
				}
			}
		}
		return rules
	}
	for i := range policy.Spec.Egress {
		rule := &policy.Spec.Egress[i]
		names := ruleNames{fmt.Sprintf("%s/%s%d", policyKey(policy), d.short, i), rule.String()}
		for _, to := range e.peerMatches(policy, names, rule.To, d) {
			for _, port := range portMatches(rule.Ports, nil) {
				rules = append(rules, join(to, port, "accept"))
			}
		}
		if hasNamedPort(rule.Ports) {
			set := e.namedPortSet(policy, names, rule.To, rule.Ports)
			rules = append(rules, fmt.Sprintf("ip daddr . meta l4proto . th dport @%s accept", set))
		}
	}
	return rules
}

// ruleNames identify the sets of one policy rule. The rule's content is part
// of the name: when it changes, the chains move to new sets, and no packet
// meets the old rules with new members.
type ruleNames struct{ id, content string }

func (n ruleNames) set(prefix string) string { return objectName(prefix, n.id, n.content, setsAs) }

// peerMatches returns the nft matches of a rule's peers, any of which may
// hold; a rule without peers matches everything ("").
func (e *evaluation) peerMatches(policy *networkingv1.NetworkPolicy, names ruleNames, peers []networkingv1.NetworkPolicyPeer, d direction) []string {
	if len(peers) == 0 {
		return []string{""}
	}
	var found []string
	if usesSelectors(peers) {
		name := names.set("pods")
		if _, done := e.rules.Sets[name]; !done {
			elements := map[string]string{}
			for i := range e.snapshot.Pods {
				if e.selected(policy, peers, &e.snapshot.Pods[i]) {
					for _, address := range e.snapshot.Pods[i].Addresses {
						elements[address.String()] = ""
					}
				}
			}
			e.rules.Sets[name] = Set{TypeOf: "ip saddr", Elements: elements}
		}
		found = append(found, d.peer+" @"+name)
	}
	if ranges := e.blockRanges(policy, peers); len(ranges) > 0 {
		elements := map[string]string{}
		for _, r := range ranges {
			elements[r.String()] = ""
		}
		// Named by content: such a set never changes, which spares the kernel
		// updates of interval sets.
		name := objectName(strings.TrimSuffix(blocksPrefix, "-"), fmt.Sprint(ranges), setsAs)
		e.rules.Sets[name] = Set{TypeOf: "ip saddr", Interval: true, Elements: elements}
		found = append(found, d.peer+" @"+name)
	}
	return found
}

func usesSelectors(peers []networkingv1.NetworkPolicyPeer) bool {
	for _, peer := range peers {
		if peer.IPBlock == nil {
			return true
		}
	}
	return false
}

// selected tells whether a pod is one of the peers by its labels.
func (e *evaluation) selected(policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, pod *Pod) bool {
	for _, peer := range peers {
		if peer.IPBlock != nil || (peer.PodSelector == nil && peer.NamespaceSelector == nil) {
			continue
		}
		if peer.NamespaceSelector == nil {
			if pod.Namespace != policy.Namespace {
				continue
			}
		} else {
			namespace, exists := e.snapshot.Namespaces[pod.Namespace]
			if !exists {
				continue
			}
			if ok, err := matches(peer.NamespaceSelector, namespace.Labels); err != nil {
				e.fail(policy, "namespaceSelector", err)
				continue
			} else if !ok {
				continue
			}
		}
		if peer.PodSelector != nil {
			if ok, err := matches(peer.PodSelector, pod.Labels); err != nil {
				e.fail(policy, "podSelector of a peer", err)
				continue
			} else if !ok {
				continue
			}
		}
		return true
	}
	return false
}

// blockRanges is the union of a rule's ipBlocks; an exception cuts only its own block.
func (e *evaluation) blockRanges(policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer) []addressRange {
	var ranges []addressRange
	for _, peer := range peers {
		if peer.IPBlock == nil {
			continue
		}
		block, err := blockRange(peer.IPBlock)
		if err != nil {
			e.fail(policy, "ipBlock", err)
			continue
		}
		ranges = append(ranges, block...)
	}
	return union(ranges)
}

func (e *evaluation) fail(policy *networkingv1.NetworkPolicy, field string, err error) {
	err = fmt.Errorf("NetworkPolicy %s: %s: %w", policyKey(policy), field, err)
	for _, known := range e.errs {
		if known.Error() == err.Error() {
			return
		}
	}
	e.errs = append(e.errs, err)
}

// applies implements the defaulting of spec.policyTypes: absent means Ingress,
// and Egress too if the policy has egress rules.
func applies(policy *networkingv1.NetworkPolicy, policyType networkingv1.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) == 0 {
		return policyType == networkingv1.PolicyTypeIngress || len(policy.Spec.Egress) > 0
	}
	for _, t := range policy.Spec.PolicyTypes {
		if t == policyType {
			return true
		}
	}
	return false
}

func matches(selector *metav1.LabelSelector, set map[string]string) (bool, error) {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return compiled.Matches(labels.Set(set)), nil
}

// objectName builds an nft name: a prefix, a hash over id and more, and as much
// of the id as is safe, for whoever reads `nft list table`.
func objectName(prefix, id string, more ...string) string {
	sum := sha256.Sum256([]byte(id + "\n" + strings.Join(more, "\n")))
	readable := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '/', r == '.':
			return r
		}
		return '_'
	}, id)
	if len(readable) > 60 {
		readable = readable[:60]
	}
	return prefix + "-" + hex.EncodeToString(sum[:6]) + "-" + readable
}

func join(parts ...string) string {
	kept := parts[:0]
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, " ")
}

// baseRuleset is what stands on every node, whatever the policies.
//
// Egress is decided before ingress on the same hook: an accept ends only its
// own base chain, so a connection between two local pods meets both. Addresses
// of this node's range that are not in the set `known-addresses` were never evaluated,
// and are dropped before connection tracking could let them pass.
func baseRuleset(s Snapshot) Ruleset {
	unknown := func(field string) string {
		return fmt.Sprintf("ip %s %s ip %s != @%s counter drop", field, s.LocalCIDR, field, knownSet)
	}
	const established = "ct state established,related accept"
	fromPods := []string{
		// The cluster is IPv4; a link-local IPv6 address would bypass every policy.
		`iifname "veth*" meta nfproto ipv6 drop`,
		// A pod may use only the address that is routed to its own interface.
		`iifname "veth*" fib saddr . iif oif missing counter drop`,
	}
	untranslated := serviceRules(s)
	forward := append(append([]string{}, fromPods...), unknown("saddr"), unknown("daddr"))
	forward = append(append(forward, untranslated...), closedAddressRules(s)...)
	forward = append(forward, established, "ip saddr vmap @"+egressMap)
	input := append(append([]string{}, fromPods...),
		`iifname != "lo" `+unknown("saddr"), established, "ip saddr vmap @"+egressMap)
	filter := func(hook knftables.BaseChainHook, priority string) *Hook {
		return &Hook{knftables.FilterType, hook, knftables.BaseChainPriority(priority)}
	}
	verdicts := func() Set {
		return Set{TypeOf: "ip saddr : verdict", Map: true, Elements: map[string]string{}}
	}
	rules := Ruleset{
		Sets: map[string]Set{
			knownSet:   {TypeOf: "ip saddr", Elements: map[string]string{}},
			ingressMap: verdicts(), egressMap: verdicts(),
		},
		Chains: map[string]Chain{
			layout:            {},
			"forward-egress":  {Hook: filter(knftables.ForwardHook, "-10"), Rules: forward},
			"forward-ingress": {Hook: filter(knftables.ForwardHook, "-9"), Rules: []string{established, "ip daddr vmap @" + ingressMap}},
			"input-egress":    {Hook: filter(knftables.InputHook, "-10"), Rules: input},
			"nat": {
				Hook: &Hook{knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority},
				Rules: []string{fmt.Sprintf("ip saddr %s ip daddr != %s masquerade fully-random",
					s.LocalCIDR, s.ClusterCIDR)},
			},
		},
	}
	if len(untranslated) > 0 {
		rules.Chains["output-services"] = Chain{Hook: filter(knftables.OutputHook, "-10"), Rules: untranslated}
	}
	closeNodePorts(s, rules)
	return rules
}
