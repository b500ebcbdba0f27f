package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// The second evaluation: over the messages themselves, by collecting the conditions of a match as a list of booleans. It shares no code
// with the first one.
type oracle struct {
	policies  []*security.Authorization
	namespace string
	listed    []string
}

func (o oracle) allows(c mesh.Connection) bool {
	outcome := map[security.Action][]bool{}
	for _, name := range o.listed {
		known := false
		for _, p := range o.policies {
			known = known || p.Namespace+"/"+p.Name == name
		}
		if !known {
			return false
		}
	}
	for _, p := range o.policies {
		applies := p.Scope == security.Scope_GLOBAL || p.Scope == security.Scope_NAMESPACE && p.Namespace == o.namespace
		for _, name := range o.listed {
			applies = applies || name == p.Namespace+"/"+p.Name
		}
		if !applies || p.DryRun {
			continue
		}
		hits := 0
		for _, g := range p.Groups {
			misses := 0
			for _, r := range g.Rules {
				if len(r.Matches) > 0 && countTrue(r.Matches, func(m *security.Match) bool { return o.matches(m, p.Action, c) }) == 0 {
					misses++
				}
			}
			if misses == 0 {
				hits++
			}
		}
		outcome[p.Action] = append(outcome[p.Action], hits > 0)
	}
	if countTrue(outcome[security.Action_DENY], func(b bool) bool { return b }) > 0 {
		return false
	}
	allows := outcome[security.Action_ALLOW]
	return len(allows) == 0 || countTrue(allows, func(b bool) bool { return b }) > 0
}

func countTrue[T any](list []T, f func(T) bool) (n int) {
	for _, x := range list {
		if f(x) {
			n++
		}
	}
	return n
}

func (o oracle) matches(m *security.Match, action security.Action, c mesh.Connection) bool {
	if proto.Size(m) == 0 {
		return action == security.Action_DENY
	}
	namespace, account := "", ""
	if parts := strings.Split(c.Identity, "/"); len(parts) == 5 {
		namespace, account = parts[2], parts[4]
	}
	glob := func(value string) func(*security.StringMatch) bool {
		return func(s *security.StringMatch) bool {
			if value == "" {
				return false
			}
			if s.GetPresence() != nil {
				return true
			}
			return s.GetExact() == value || s.GetPrefix() != "" && strings.Index(value, s.GetPrefix()) == 0 ||
				s.GetSuffix() != "" && strings.TrimSuffix(value, s.GetSuffix()) != value
		}
	}
	inside := func(ip netip.Addr) func(*security.Address) bool {
		return func(b *security.Address) bool {
			if len(b.Address) != len(ip.AsSlice()) {
				return false
			}
			for bit := range int(b.Length) { // bit by bit, unlike netip.Prefix
				mask := byte(0x80 >> (bit % 8))
				if b.Address[bit/8]&mask != ip.AsSlice()[bit/8]&mask {
					return false
				}
			}
			return true
		}
	}
	samePort := func(p uint32) bool { return p == uint32(c.Destination.Port()) }
	sameAccount := func(a *security.ServiceAccountMatch) bool {
		return account != "" && a.Namespace+"/"+a.ServiceAccount == namespace+"/"+account
	}
	conditions := []bool{
		len(m.Namespaces) == 0 || countTrue(m.Namespaces, glob(namespace)) > 0, countTrue(m.NotNamespaces, glob(namespace)) == 0,
		len(m.Principals) == 0 || countTrue(m.Principals, glob(c.Identity)) > 0, countTrue(m.NotPrincipals, glob(c.Identity)) == 0,
		len(m.ServiceAccounts) == 0 || countTrue(m.ServiceAccounts, sameAccount) > 0, countTrue(m.NotServiceAccounts, sameAccount) == 0,
		len(m.SourceIps) == 0 || countTrue(m.SourceIps, inside(c.Source)) > 0, countTrue(m.NotSourceIps, inside(c.Source)) == 0,
		len(m.DestinationIps) == 0 || countTrue(m.DestinationIps, inside(c.Destination.Addr())) > 0,
		countTrue(m.NotDestinationIps, inside(c.Destination.Addr())) == 0,
		len(m.DestinationPorts) == 0 || countTrue(m.DestinationPorts, samePort) > 0, countTrue(m.NotDestinationPorts, samePort) == 0,
	}
	return countTrue(conditions, func(b bool) bool { return b }) == len(conditions)
}

// A generator over so few names, addresses and ports that conditions often meet.
type generator struct{ *rand.Rand }

var (
	namespaces = []string{"shop", "data", "root"}
	accounts   = []string{"web", "db"}
	addresses  = []string{"10.0.0.1", "10.0.1.1", "fd00::1", "fd00:0:1::1"}
)

func pick[T any](g generator, list []T) T { return list[g.IntN(len(list))] }

func several[T any](g generator, make func() T) []T {
	var out []T
	for range max(0, g.IntN(5)-2) {
		out = append(out, make())
	}
	return out
}

func (g generator) identity() string {
	return "cluster.local/ns/" + pick(g, namespaces) + "/sa/" + pick(g, accounts)
}

func (g generator) text(whole string) *security.StringMatch {
	cut := 1 + g.IntN(len(whole)-1)
	return pick(g, []*security.StringMatch{
		{MatchType: &security.StringMatch_Exact{Exact: whole}},
		{MatchType: &security.StringMatch_Prefix{Prefix: whole[:cut]}},
		{MatchType: &security.StringMatch_Suffix{Suffix: whole[cut:]}},
		{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}},
	})
}

func (g generator) match() *security.Match {
	namespace := func() *security.StringMatch { return g.text(pick(g, namespaces)) }
	principal := func() *security.StringMatch { return g.text(g.identity()) }
	account := func() *security.ServiceAccountMatch {
		return &security.ServiceAccountMatch{Namespace: pick(g, namespaces), ServiceAccount: pick(g, accounts)}
	}
	block := func() *security.Address {
		address := netip.MustParseAddr(pick(g, addresses))
		return &security.Address{Address: address.AsSlice(), Length: uint32(g.IntN(address.BitLen() + 1))}
	}
	port := func() uint32 { return pick(g, []uint32{80, 443, 5432}) }
	m := &security.Match{}
	for range 1 + g.IntN(2) { // few kinds at a time, else nothing ever matches
		switch g.IntN(12) {
		case 0:
			m.Namespaces = several(g, namespace)
		case 1:
			m.NotNamespaces = several(g, namespace)
		case 2:
			m.Principals = several(g, principal)
		case 3:
			m.NotPrincipals = several(g, principal)
		case 4:
			m.ServiceAccounts = several(g, account)
		case 5:
			m.NotServiceAccounts = several(g, account)
		case 6:
			m.SourceIps = several(g, block)
		case 7:
			m.NotSourceIps = several(g, block)
		case 8:
			m.DestinationIps = several(g, block)
		case 9:
			m.NotDestinationIps = several(g, block)
		case 10:
			m.DestinationPorts = several(g, port)
		case 11:
			m.NotDestinationPorts = several(g, port)
		}
	}
	return m
}

func (g generator) policy(number int) *security.Authorization {
	return &security.Authorization{
		Name: fmt.Sprintf("policy-%d", number), Namespace: pick(g, namespaces),
		Scope: security.Scope(g.IntN(3)), Action: security.Action(g.IntN(2)), DryRun: g.IntN(8) == 0,
		Groups: several(g, func() *security.Group {
			return &security.Group{Rules: several(g, func() *security.Rules { return &security.Rules{Matches: several(g, g.match)} })}
		}),
	}
}

func (g generator) connection() mesh.Connection {
	c := mesh.Connection{
		Source:      netip.MustParseAddr(pick(g, addresses)),
		Destination: netip.AddrPortFrom(netip.MustParseAddr(pick(g, addresses)), pick(g, []uint16{80, 443, 5432, 9090})),
	}
	if g.IntN(4) > 0 {
		c.Identity = g.identity()
	}
	return c
}

// Both evaluations agree on random policies and connections; and policies take both decisions, or the comparison would say nothing.
func TestEvaluationAgreesWithAnIndependentOne(t *testing.T) {
	seed := rand.Uint64()
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	count := map[bool]int{}
	for range 4000 {
		o := oracle{namespace: pick(g, namespaces)}
		for number := range g.IntN(5) {
			one := g.policy(number)
			o.policies = append(o.policies, one)
			if one.Scope == security.Scope_WORKLOAD_SELECTOR && g.IntN(2) == 0 {
				o.listed = append(o.listed, one.Namespace+"/"+one.Name)
			}
		}
		if g.IntN(20) == 0 {
			o.listed = append(o.listed, "shop/not-arrived")
		}
		set := setOf(t, o.policies...)
		for range 5 {
			c := g.connection()
			got, want := set.Evaluate(o.namespace, o.listed, c), o.allows(c)
			if got.Allowed != want {
				t.Fatalf("seed %d: %+v into %s with %v listed: %+v, the other evaluation says %t\n%v", seed, c, o.namespace, o.listed, got, want, o.policies)
			}
			count[want]++
		}
	}
	if count[true] < 2000 || count[false] < 2000 {
		t.Errorf("seed %d: allowed and refused are out of balance: %v", seed, count)
	}
}
