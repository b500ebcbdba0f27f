package nodenet

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/knftables"
)

func closedWorld() Snapshot {
	s := world()
	s.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/16")
	s.ClosedPorts = []uint16{30000, 32400}
	s.ClosedAddresses = []netip.Addr{netip.MustParseAddr("172.30.255.250")}
	s.NodeAddresses = []netip.Addr{netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("172.30.0.3")}
	return s
}

// TestUntranslatedServicesAreRefused: behind every translation, and before
// anything that could let the packet pass.
func TestUntranslatedServicesAreRefused(t *testing.T) {
	rules, err := Evaluate(closedWorld())
	if err != nil {
		t.Fatal(err)
	}
	for name, hook := range map[string]knftables.BaseChainHook{"forward-egress": knftables.ForwardHook, "output-services": knftables.OutputHook} {
		chain := rules.Chains[name]
		if chain.Hook == nil || chain.Hook.Hook != hook || chain.Hook.Priority != "-10" {
			t.Fatalf("%s is attached to %+v", name, chain.Hook)
		}
		refusal := slices.Index(chain.Rules, "ip daddr 10.96.0.0/16 meta l4proto tcp counter reject with tcp reset")
		if refusal < 0 || chain.Rules[refusal+1] != "ip daddr 10.96.0.0/16 counter reject with icmp type port-unreachable" {
			t.Fatalf("%s: %q", name, chain.Rules)
		}
		for _, rule := range chain.Rules[:refusal] {
			if !strings.HasSuffix(rule, "drop") {
				t.Errorf("%s lets %q decide first", name, rule)
			}
		}
	}
}

// TestClosedAddressesAreRefused: before what lets established connections
// pass, so that a connection of before the rule ends, too. The nodes' own
// processes do not come by here.
func TestClosedAddressesAreRefused(t *testing.T) {
	rules, err := Evaluate(closedWorld())
	if err != nil {
		t.Fatal(err)
	}
	chain := rules.Chains["forward-egress"].Rules
	const from = "ip saddr 10.244.0.0/16 ip daddr 172.30.255.250 "
	refusal := slices.Index(chain, from+"meta l4proto tcp counter reject with tcp reset")
	if refusal < 0 || chain[refusal+1] != from+"counter reject with icmp type port-unreachable" {
		t.Fatalf("%q", chain)
	}
	if passing := slices.Index(chain, "ct state established,related accept"); passing < refusal {
		t.Errorf("established connections pass first: %q", chain)
	}
	for _, name := range []string{"output-services", "input-egress"} {
		if strings.Contains(strings.Join(rules.Chains[name].Rules, "\n"), "172.30.255.250") {
			t.Errorf("%s is about the node itself: %q", name, rules.Chains[name].Rules)
		}
	}
}

func TestClosedNodePorts(t *testing.T) {
	rules, err := Evaluate(closedWorld())
	if err != nil {
		t.Fatal(err)
	}
	chain := rules.Chains["prerouting-node-ports"]
	// Connection tracking is at -200, kube-proxy's translation at -100.
	if chain.Hook == nil || chain.Hook.Hook != knftables.PreroutingHook || chain.Hook.Priority != "-110" || chain.Hook.Type != knftables.FilterType {
		t.Fatalf("attached to %+v", chain.Hook)
	}
	if got := slices.Sorted(maps.Keys(rules.Sets[closedSet].Elements)); !slices.Equal(got, []string{"30000", "32400"}) {
		t.Errorf("ports: %q", got)
	}
	if got := slices.Sorted(maps.Keys(rules.Sets[nodesSet].Elements)); !slices.Equal(got, []string{"172.30.0.2", "172.30.0.3"}) {
		t.Errorf("nodes: %q", got)
	}
}

func TestNothingIsRefusedUnasked(t *testing.T) {
	rules, err := Evaluate(world())
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range rules.Chains {
		if name == "output-services" || name == "prerouting-node-ports" || strings.Contains(strings.Join(chain.Rules, "\n"), "reject") {
			t.Errorf("%s: %q", name, chain.Rules)
		}
	}
}

// TestNewBaseChainsJoinAnOldTable: an agent that has more base chains than the
// one before takes the table over, so that no chain is ever away.
func TestNewBaseChainsJoinAnOldTable(t *testing.T) {
	ctx := context.Background()
	fake := knftables.NewFake(knftables.InetFamily, Table)
	old, err := Evaluate(world(policy(t, "p", `{podSelector: {}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&kernel{nft: fake}).apply(ctx, aged(old)); err != nil {
		t.Fatal(err)
	}
	recorder := &recording{Interface: fake}
	next, err := Evaluate(closedWorld())
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{nft: recorder}
	if _, err := k.apply(ctx, next); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(recorder.ran, "delete table") || strings.Contains(recorder.ran, "delete chain inet "+Table+" forward") {
		t.Errorf("the old table was not taken over:\n%s", recorder.ran)
	}
	if err := k.verify(ctx); err != nil {
		t.Error(err)
	}
}

// aged is a ruleset with the names that sets had before they were declared by
// expressions.
func aged(r Ruleset) Ruleset {
	names := strings.NewReplacer(knownSet, "known", ingressMap, "ingress", egressMap, "egress")
	old := Ruleset{Sets: map[string]Set{}, Chains: map[string]Chain{}}
	for name, set := range r.Sets {
		old.Sets[names.Replace(name)] = set
	}
	for name, chain := range r.Chains {
		rules := make([]string, 0, len(chain.Rules))
		for _, rule := range chain.Rules {
			rules = append(rules, names.Replace(rule))
		}
		old.Chains[name] = Chain{Hook: chain.Hook, Rules: rules}
	}
	return old
}

// recording keeps the transactions that were run.
type recording struct {
	knftables.Interface
	ran string
}

func (r *recording) Run(ctx context.Context, tx *knftables.Transaction) error {
	r.ran += tx.String()
	return r.Interface.Run(ctx, tx)
}

// TestSetsAreDeclaredByExpressions: an old nft crashes on the others.
func TestSetsAreDeclaredByExpressions(t *testing.T) {
	ctx := context.Background()
	s := closedWorld()
	s.Policies = append(s.Policies, policy(t, "p", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}]}],
		egress: [{to: [{namespaceSelector: {}}], ports: [{port: sql}]}]}`))
	rules, err := Evaluate(s)
	if err != nil {
		t.Fatal(err)
	}
	recorder := &recording{Interface: knftables.NewFake(knftables.InetFamily, Table)}
	if _, err := (&kernel{nft: recorder}).apply(ctx, rules); err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, line := range strings.Split(recorder.ran, "\n") {
		if strings.HasPrefix(line, "add set ") || strings.HasPrefix(line, "add map ") {
			declared++
			if !strings.Contains(line, " typeof ") {
				t.Errorf("declared by a type's name: %s", line)
			}
		}
	}
	if declared < 8 {
		t.Errorf("only %d sets were declared: too few to prove anything\n%s", declared, recorder.ran)
	}
}

func TestFlagsOfRefusals(t *testing.T) {
	if prefix, err := servicePrefix("10.96.3.0/16"); err != nil || prefix.String() != "10.96.0.0/16" {
		t.Errorf("%s, error %v", prefix, err)
	}
	if prefix, err := servicePrefix(""); err != nil || prefix.IsValid() {
		t.Errorf("%s, error %v", prefix, err)
	}
	for _, text := range []string{"x", "10.96.0.0", "fd00::/112", "0.0.0.0/0"} {
		if _, err := servicePrefix(text); err == nil || !strings.Contains(err.Error(), "--service-cidr") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if ports, err := portNumbers([]string{"30000", "30080"}); err != nil || !slices.Equal(ports, []uint16{30000, 30080}) {
		t.Errorf("%v, error %v", ports, err)
	}
	if addresses, err := closedAddresses([]string{"172.30.255.250"}); err != nil || len(addresses) != 1 {
		t.Errorf("%v, error %v", addresses, err)
	}
	for _, text := range []string{"x", "", "172.30.0.0/16", "fd00::1", "0.0.0.0", "127.0.0.1"} {
		if _, err := closedAddresses([]string{text}); err == nil || !strings.Contains(err.Error(), "--closed-addresses") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	for _, text := range []string{"0", "65536", "-1", "http", ""} {
		if _, err := portNumbers([]string{text}); err == nil || !strings.Contains(err.Error(), "--closed-node-ports") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
