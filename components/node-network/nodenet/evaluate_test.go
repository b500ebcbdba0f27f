package nodenet

import (
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// world is the fixture: subject shop/web on this node, peers here and elsewhere.
func world(policies ...*networkingv1.NetworkPolicy) Snapshot {
	address := func(text string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(text)} }
	return Snapshot{
		LocalCIDR: netip.MustParsePrefix("10.244.1.0/24"), ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		Namespaces: map[string]Namespace{
			"shop": {Labels: map[string]string{"team": "a"}}, "data": {Labels: map[string]string{"team": "b"}},
		},
		Pods: []Pod{
			{Namespace: "data", Name: "db", Labels: map[string]string{"app": "db", "tier": "back"}, Addresses: address("10.244.2.9"),
				Ports: []NamedPort{{"sql", corev1.ProtocolTCP, 5432}}},
			{Namespace: "data", Name: "queue", Labels: map[string]string{"app": "queue"}, Addresses: address("10.244.2.10"),
				Ports: []NamedPort{{"sql", corev1.ProtocolTCP, 9999}, {"sql", corev1.ProtocolUDP, 9998}}},
			{Namespace: "shop", Name: "job", Labels: map[string]string{"app": "job"}, Addresses: address("10.244.1.3"), Local: true},
			{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}, Addresses: address("10.244.1.2"), Local: true,
				Ports: []NamedPort{{"http", corev1.ProtocolTCP, 8000}, {"http", corev1.ProtocolUDP, 8001}}},
		},
		Policies: policies,
	}
}

func policy(t *testing.T, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("policy %s: %v", name, err)
	}
	return p
}

var hashes = regexp.MustCompile(`-[0-9a-f]{12}-`)

// chainOf returns the rules of a pod's chain without hashes, the final drop
// and the pod's access to itself; nil if the pod is not isolated.
func chainOf(t *testing.T, r Ruleset, vmap, address string) []string {
	t.Helper()
	verdict, isolated := r.Sets[vmap].Elements[address]
	if !isolated {
		return nil
	}
	rules := r.Chains[strings.TrimPrefix(verdict, "goto ")].Rules
	self := "ip saddr " + address + " ip daddr " + address + " accept"
	if len(rules) < 2 || rules[0] != self || rules[len(rules)-1] != "counter drop" {
		t.Fatalf("chain of %s: want %q first and a drop last, got %q", address, self, rules)
	}
	clean := []string{}
	for _, rule := range rules[1 : len(rules)-1] {
		clean = append(clean, hashes.ReplaceAllString(rule, ":"))
	}
	return clean
}

// setsOf returns the elements of the sets that policies made, names without hashes.
func setsOf(r Ruleset) map[string]string {
	found := map[string]string{}
	for name, set := range r.Sets {
		if clean := hashes.ReplaceAllString(name, ":"); clean != name {
			if strings.HasPrefix(clean, "blocks:") {
				clean = "blocks"
			}
			found[clean] = strings.Join(slices.Sorted(maps.Keys(set.Elements)), " ")
		}
	}
	return found
}

func TestEvaluate(t *testing.T) {
	const pods = "pods:shop/p/in0"
	tests := []struct {
		name, spec string
		in, out    []string // of shop/web; nil: not isolated
		sets       map[string]string
	}{
		{"selects another pod", `{podSelector: {matchLabels: {app: none}}, ingress: []}`, nil, nil, nil},
		{"no ingress rules deny all", `{podSelector: {}}`, []string{}, nil, nil},
		{"an empty rule allows all", `{podSelector: {}, ingress: [{}]}`, []string{"accept"}, nil, nil},
		{"empty from allows all", `{podSelector: {}, ingress: [{from: [], ports: []}]}`, []string{"accept"}, nil, nil},
		{"egress rules imply the type", `{podSelector: {}, egress: [{}]}`, []string{}, []string{"accept"}, nil},
		{"types win over rules", `{podSelector: {}, policyTypes: [Ingress], egress: [{}]}`, []string{}, nil, nil},
		{"egress only", `{podSelector: {}, policyTypes: [Egress]}`, nil, []string{}, nil},
		{"expression selects", `{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, x]}, {key: no, operator: DoesNotExist}]}}`,
			[]string{}, nil, nil},
		{"expression refuses", `{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}`, nil, nil, nil},
		{"pods of the same namespace", `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`,
			[]string{"ip saddr @" + pods + " accept"}, nil, map[string]string{pods: "10.244.1.2 10.244.1.3"}},
		{"every namespace", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`,
			[]string{"ip saddr @" + pods + " accept"}, nil, map[string]string{pods: "10.244.1.2 10.244.1.3 10.244.2.10 10.244.2.9"}},
		{"namespace and pod together", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: db}}}]}]}`,
			[]string{"ip saddr @" + pods + " accept"}, nil, map[string]string{pods: "10.244.2.9"}},
		{"namespace or pod", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: job}}}]}]}`,
			[]string{"ip saddr @" + pods + " accept"}, nil, map[string]string{pods: "10.244.1.3 10.244.2.10 10.244.2.9"}},
		{"a selector without pods stays closed", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}`,
			[]string{"ip saddr @" + pods + " accept"}, nil, map[string]string{pods: ""}},
		{"block with exceptions", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/26, 10.0.0.128/32]}}]}]}`,
			[]string{"ip saddr @blocks:_10.0.0.64-10.0.0.127_10.0.0.129-10.0.0.255_ accept"}, nil,
			map[string]string{"blocks": "10.0.0.129-10.0.0.255 10.0.0.64-10.0.0.127"}},
		{"an exception cuts its own block only", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/25]}}, {ipBlock: {cidr: 10.0.0.0/26}}]}]}`,
			[]string{"ip saddr @blocks:_10.0.0.0-10.0.0.63_10.0.0.128-10.0.0.255_ accept"}, nil,
			map[string]string{"blocks": "10.0.0.0-10.0.0.63 10.0.0.128-10.0.0.255"}},
		{"a block cut to nothing", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/24]}}]}]}`, []string{}, nil, nil},
		{"an IPv6 block matches no IPv4 pod", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "fd00::/8"}}]}]}`, []string{}, nil, nil},
		{"ports of three protocols, ranges merged",
			`{podSelector: {}, ingress: [{ports: [{port: 80}, {port: 82, endPort: 90}, {port: 81, protocol: TCP}, {port: 53, protocol: UDP}, {protocol: SCTP}]}]}`,
			[]string{"tcp dport { 80-90 } accept", "udp dport { 53 } accept", "meta l4proto sctp accept"}, nil, nil},
		{"a protocol alone covers its ports", `{podSelector: {}, ingress: [{ports: [{port: 80}, {protocol: TCP}]}]}`,
			[]string{"meta l4proto tcp accept"}, nil, nil},
		{"named port of the subject, by protocol", `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`,
			[]string{"tcp dport { 8000 } accept"}, nil, nil},
		{"a name the subject lacks", `{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`, []string{}, nil, nil},
		{"named egress port per destination", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: sql}, {port: 443}]}]}`,
			nil, []string{"ip daddr @pods:shop/p/out0 tcp dport { 443 } accept", "ip daddr . meta l4proto . th dport @named:shop/p/out0 accept"},
			map[string]string{"pods:shop/p/out0": "10.244.2.10 10.244.2.9",
				"named:shop/p/out0": "10.244.2.10 . tcp . 9999 10.244.2.9 . tcp . 5432"}},
		{"named egress port to anyone", `{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: sql, protocol: UDP}]}]}`,
			nil, []string{"ip daddr . meta l4proto . th dport @named:shop/p/out0 accept"},
			map[string]string{"named:shop/p/out0": "10.244.2.10 . udp . 9998"}},
		{"named egress port within a block", `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.244.2.8/31}}], ports: [{port: sql}]}]}`,
			nil, []string{"ip daddr . meta l4proto . th dport @named:shop/p/out0 accept"},
			map[string]string{"blocks": "10.244.2.8-10.244.2.9", "named:shop/p/out0": "10.244.2.9 . tcp . 5432"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ruleset, err := Evaluate(world(policy(t, "p", test.spec)))
			if err != nil {
				t.Fatal(err)
			}
			for vmap, want := range map[string][]string{ingressMap: test.in, egressMap: test.out} {
				got := chainOf(t, ruleset, vmap, "10.244.1.2")
				if (got == nil) != (want == nil) || !slices.Equal(got, want) {
					t.Errorf("%s: got %q, want %q", vmap, got, want)
				}
			}
			if got := setsOf(ruleset); !maps.Equal(got, test.sets) {
				t.Errorf("sets: got %q, want %q", got, test.sets)
			}
		})
	}
}

func TestPoliciesAddUp(t *testing.T) {
	ruleset, err := Evaluate(world(policy(t, "a", `{podSelector: {}}`),
		policy(t, "b", `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}`),
		policy(t, "c", `{podSelector: {}, ingress: [{ports: [{port: 81}]}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := chainOf(t, ruleset, ingressMap, "10.244.1.2"), []string{"tcp dport { 80 } accept", "tcp dport { 81 } accept"}; !slices.Equal(got, want) {
		t.Errorf("web: got %q, want %q", got, want)
	}
	if got, want := chainOf(t, ruleset, ingressMap, "10.244.1.3"), []string{"tcp dport { 81 } accept"}; !slices.Equal(got, want) {
		t.Errorf("job: got %q, want %q", got, want)
	}
	if _, isolated := ruleset.Sets[ingressMap].Elements["10.244.2.9"]; isolated {
		t.Error("a pod of another node has a chain here")
	}
	if got := slices.Sorted(maps.Keys(ruleset.Sets[knownSet].Elements)); !slices.Equal(got, []string{"10.244.1.2", "10.244.1.3"}) {
		t.Errorf("known addresses: %q", got)
	}
}

func TestPoliciesOfOtherNamespacesDoNotApply(t *testing.T) {
	foreign := policy(t, "p", `{podSelector: {}}`)
	foreign.Namespace = "data"
	ruleset, err := Evaluate(world(foreign))
	if err != nil || chainOf(t, ruleset, ingressMap, "10.244.1.2") != nil {
		t.Errorf("a policy of namespace data isolates shop/web (error %v)", err)
	}
}

func TestBrokenSelectorsAreStrict(t *testing.T) {
	broken := `{matchExpressions: [{key: app, operator: Nonsense}]}`
	ruleset, err := Evaluate(world(policy(t, "p", `{podSelector: `+broken+`}`),
		policy(t, "q", `{podSelector: {}, ingress: [{from: [{podSelector: `+broken+`}]}]}`)))
	if err == nil || strings.Count(err.Error(), "NetworkPolicy") != 2 {
		t.Errorf("want one error per policy, got %v", err)
	}
	if got := chainOf(t, ruleset, ingressMap, "10.244.1.2"); len(got) != 1 {
		t.Errorf("web must be isolated with one empty rule, got %q", got)
	}
	if got := setsOf(ruleset)["pods:shop/q/in0"]; got != "" {
		t.Errorf("a broken peer selects %q", got)
	}
}

// TestEvaluateIsStable: equal objects at other places in memory give the same
// names, so that a restarted agent changes nothing.
func TestEvaluateIsStable(t *testing.T) {
	spec := `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a, x: y, z: w}}}, {podSelector: {}}], ports: [{port: 80, endPort: 90}]}],
		egress: [{to: [{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}], ports: [{port: sql, protocol: UDP}]}]}`
	first, err := Evaluate(world(policy(t, "p", spec)))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := Evaluate(world(policy(t, "p", spec)))
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("error %v, or two rulesets:\n%v\n%v", err, first, again)
		}
	}
	other, err := Evaluate(world(policy(t, "p", strings.Replace(spec, "Exists", "DoesNotExist", 1))))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(slices.Sorted(maps.Keys(first.Sets)), slices.Sorted(maps.Keys(other.Sets))) {
		t.Error("another selector keeps the set's name")
	}
}
