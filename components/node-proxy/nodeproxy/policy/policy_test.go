package policy

import (
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
)

const root = "root"

func encode(t testing.TB, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func setOf(t testing.TB, messages ...*security.Authorization) *Set {
	t.Helper()
	policies := map[string]*Policy{}
	for _, message := range messages {
		key := message.Namespace + "/" + message.Name
		one, err := Parse(key, encode(t, message))
		if err != nil {
			t.Fatal(err)
		}
		policies[key] = one
	}
	return NewSet(policies, root)
}

func exactly(value string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: value}}
}

var present = &security.StringMatch{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}

func one(scope security.Scope, action security.Action, namespace string, matches ...*security.Match) *security.Authorization {
	return &security.Authorization{
		Name: strings.ToLower(action.String()), Namespace: namespace, Scope: scope, Action: action,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: matches}}}},
	}
}

func connection(source, identity, destination string) mesh.Connection {
	return mesh.Connection{Source: netip.MustParseAddr(source), Identity: identity, Destination: netip.MustParseAddrPort(destination)}
}

const (
	web = "cluster.local/ns/shop/sa/web"
	db  = "cluster.local/ns/data/sa/db"
	pod = "10.0.0.9:80"
)

func TestDecisions(t *testing.T) {
	strict := one(security.Scope_WORKLOAD_SELECTOR, security.Action_DENY, root, &security.Match{NotPrincipals: []*security.StringMatch{present}})
	allow := func(m *security.Match) *security.Authorization {
		return one(security.Scope_NAMESPACE, security.Action_ALLOW, "shop", m)
	}
	deny := func(m *security.Match) *security.Authorization {
		return one(security.Scope_NAMESPACE, security.Action_DENY, "shop", m)
	}
	byWeb := &security.Match{Principals: []*security.StringMatch{exactly(web)}}
	dry := deny(byWeb)
	dry.DryRun = true
	dryAllow := allow(byWeb)
	dryAllow.DryRun = true
	nothing := allow(byWeb)
	nothing.Groups = nil
	withoutRules := allow(byWeb)
	withoutRules.Groups = []*security.Group{{}}
	withoutMatches := one(security.Scope_NAMESPACE, security.Action_ALLOW, "shop")
	tests := []struct {
		name     string
		policies []*security.Authorization
		listed   []string
		from     mesh.Connection
		want     bool
	}{
		{"no policy", nil, nil, connection("10.0.0.1", "", pod), true},
		{"strict refuses plaintext", []*security.Authorization{strict}, []string{"root/deny"}, connection("10.0.0.1", "", pod), false},
		{"strict lets a proven caller in", []*security.Authorization{strict}, []string{"root/deny"}, connection("10.0.0.1", web, pod), true},
		{"a selector policy is not for workloads that do not list it", []*security.Authorization{strict}, nil, connection("10.0.0.1", "", pod), true},
		{"listed and not arrived", nil, []string{"shop/later"}, connection("10.0.0.1", web, pod), false},
		{"allow by principal", []*security.Authorization{allow(byWeb)}, nil, connection("10.0.0.1", web, pod), true},
		{"allow by principal, other caller", []*security.Authorization{allow(byWeb)}, nil, connection("10.0.0.1", db, pod), false},
		{"allow by principal, no identity", []*security.Authorization{allow(byWeb)}, nil, connection("10.0.0.1", "", pod), false},
		{"deny goes before allow", []*security.Authorization{allow(byWeb), deny(byWeb)}, nil, connection("10.0.0.1", web, pod), false},
		{"a policy of another namespace", []*security.Authorization{one(security.Scope_NAMESPACE, security.Action_ALLOW, "data", byWeb)}, nil,
			connection("10.0.0.1", db, pod), true},
		{"a policy of the mesh", []*security.Authorization{one(security.Scope_GLOBAL, security.Action_ALLOW, root, byWeb)}, nil,
			connection("10.0.0.1", db, pod), false},
		{"a dry run does not deny", []*security.Authorization{dry}, nil, connection("10.0.0.1", web, pod), true},
		{"a dry run does not restrict", []*security.Authorization{dryAllow}, nil, connection("10.0.0.1", db, pod), true},
		{"a policy without groups never matches", []*security.Authorization{nothing}, nil, connection("10.0.0.1", web, pod), false},
		{"a group without rules always matches", []*security.Authorization{withoutRules}, nil, connection("10.0.0.1", "", pod), true},
		{"a rule without matches always matches", []*security.Authorization{withoutMatches}, nil, connection("10.0.0.1", "", pod), true},
		{"an empty match allows nobody", []*security.Authorization{allow(&security.Match{})}, nil, connection("10.0.0.1", web, pod), false},
		{"an empty match denies everybody", []*security.Authorization{deny(&security.Match{})}, nil, connection("10.0.0.1", web, pod), false},
		{"presence is not met without identity", []*security.Authorization{allow(&security.Match{Principals: []*security.StringMatch{present}})}, nil,
			connection("10.0.0.1", "", pod), false},
		{"source block", []*security.Authorization{allow(&security.Match{SourceIps: []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 24}}})}, nil,
			connection("10.0.0.77", "", pod), true},
		{"source block, IPv4 in IPv6", []*security.Authorization{allow(&security.Match{SourceIps: []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 24}}})},
			nil, connection("::ffff:10.0.0.77", "", pod), true},
		{"a block of one family does not hold the other", []*security.Authorization{allow(&security.Match{SourceIps: []*security.Address{{Address: make([]byte, 4)}}})},
			nil, connection("fd00::1", "", pod), false},
		{"not port", []*security.Authorization{deny(&security.Match{NotDestinationPorts: []uint32{443}})}, nil, connection("10.0.0.1", web, pod), false},
		{"an identity that is none", nil, nil, connection("10.0.0.1", "cluster.local/ns//sa/web", pod), false},
		{"no source address", nil, nil, mesh.Connection{Destination: netip.MustParseAddrPort(pod)}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decision := setOf(t, test.policies...).Evaluate("shop", test.listed, test.from)
			if decision.Allowed != test.want || decision.Reason == "" {
				t.Errorf("%+v, want allowed = %t with a reason", decision, test.want)
			}
		})
	}
}

// allowAll would let everybody in; whatever is wrong with it, nobody gets in.
func allowAll(namespace string) *security.Authorization {
	return &security.Authorization{Name: "all", Namespace: namespace, Scope: security.Scope_NAMESPACE, Groups: []*security.Group{{}}}
}

func TestWhatIsNotUnderstoodDenies(t *testing.T) {
	unknown := func(data []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(data, 99, protowire.VarintType), 1)
	}
	edit := func(change func(*security.Authorization)) []byte {
		message := allowAll("shop")
		change(message)
		return encode(t, message)
	}
	matching := func(m *security.Match) []byte {
		return edit(func(a *security.Authorization) {
			a.Groups = []*security.Group{{}, {Rules: []*security.Rules{{Matches: []*security.Match{m}}}}}
		})
	}
	cases := map[string][]byte{
		"not a message":       {0xff, 0xff, 0xff},
		"unknown field":       unknown(edit(func(*security.Authorization) {})),
		"unknown nested":      edit(func(a *security.Authorization) { a.Groups[0].ProtoReflect().SetUnknown(unknown(nil)) }),
		"unknown action":      edit(func(a *security.Authorization) { a.Action = 7 }),
		"unknown scope":       edit(func(a *security.Authorization) { a.Scope = 7 }),
		"another name":        edit(func(a *security.Authorization) { a.Name = "other" }),
		"extension":           edit(func(a *security.Authorization) { a.Extensions = []*workloadapi.Extension{{Name: "more"}} }),
		"extension of match":  matching(&security.Match{Extensions: []*workloadapi.Extension{{Name: "more"}}}),
		"string of no kind":   matching(&security.Match{Principals: []*security.StringMatch{{}}}),
		"empty string":        matching(&security.Match{NotPrincipals: []*security.StringMatch{exactly("")}}),
		"account of no name":  matching(&security.Match{NotServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "shop"}}}),
		"address of 5 bytes":  matching(&security.Match{NotSourceIps: []*security.Address{{Address: make([]byte, 5)}}}),
		"length 33 of IPv4":   matching(&security.Match{NotSourceIps: []*security.Address{{Address: make([]byte, 4), Length: 33}}}),
		"port 65536":          matching(&security.Match{NotDestinationPorts: []uint32{65536}}),
		"invalid text (UTF8)": {0x0a, 0x01, 0xff},
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse("shop/all", data)
			if err == nil || parsed.Broken == "" {
				t.Fatal("it is not reported as broken")
			}
			set := NewSet(map[string]*Policy{"shop/all": parsed}, root)
			if decision := set.Evaluate("shop", nil, connection("10.0.0.1", web, pod)); decision.Allowed {
				t.Errorf("its namespace is open: %+v", decision)
			}
			if decision := set.Evaluate("data", []string{"shop/all"}, connection("10.0.0.1", web, pod)); decision.Allowed {
				t.Errorf("a workload that lists it is open: %+v", decision)
			}
			if decision := set.Evaluate("data", nil, connection("10.0.0.1", web, pod)); !decision.Allowed {
				t.Errorf("another namespace is closed: %+v", decision)
			}
		})
	}
	if set := setOf(t, allowAll("shop")); !set.Evaluate("shop", nil, connection("10.0.0.1", web, pod)).Allowed {
		t.Error("the unharmed policy does not allow: the cases above say nothing")
	}
}

func TestABrokenPolicyOfTheRootNamespaceClosesTheMesh(t *testing.T) {
	parsed, _ := Parse("root/all", []byte{0xff})
	if NewSet(map[string]*Policy{"root/all": parsed}, root).Evaluate("data", nil, connection("10.0.0.1", web, pod)).Allowed {
		t.Error("a policy of the root namespace that cannot be read may have been one of the mesh")
	}
}

// Whatever the bytes are: no panic; and adding a policy that cannot be understood never lets in what was refused before.
func FuzzParseNeverWidens(f *testing.F) {
	f.Add(encode(f, allowAll("shop")))
	f.Add(encode(f, one(security.Scope_NAMESPACE, security.Action_DENY, "shop", &security.Match{NotPrincipals: []*security.StringMatch{present}})))
	f.Add([]byte{0xff})
	callers := []mesh.Connection{connection("10.0.0.1", web, pod), connection("10.0.0.1", "", pod), connection("fd00::1", db, "[fd00::9]:5432")}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := Parse("shop/all", data)
		if (err != nil) != (parsed.Broken != "") {
			t.Fatalf("error %v and broken %q disagree", err, parsed.Broken)
		}
		set := NewSet(map[string]*Policy{"shop/all": parsed}, root)
		for _, from := range callers {
			decision := set.Evaluate("shop", []string{"shop/all"}, from)
			if err != nil && decision.Allowed {
				t.Fatalf("a policy that cannot be understood allows: %v", err)
			}
			if err == nil && decision.Allowed != (oracle{[]*security.Authorization{parsed.Source}, "shop", []string{"shop/all"}}).allows(from) {
				t.Fatalf("the other evaluation differs: %+v by %v", decision, parsed.Source)
			}
		}
	})
}
