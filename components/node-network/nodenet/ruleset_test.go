package nodenet

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/knftables"
)

// TestChangesEqualReplacement walks through random states three times: by
// differences, by takeovers, and by replacing everything. The fake checks every reference;
// the tables must be equal after each step.
func TestChangesEqualReplacement(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	specs := []string{
		`{podSelector: {}}`, `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}]}]}`,
		`{podSelector: {}, egress: [{to: [{namespaceSelector: {}}], ports: [{port: sql}, {port: 1, endPort: 9}]}]}`,
		`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}`,
		`{podSelector: {matchLabels: {app: job}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.9.0.0/16}}, {podSelector: {}}]}]}`,
	}
	incremental := &kernel{nft: knftables.NewFake(knftables.InetFamily, Table)}
	heir := &kernel{nft: knftables.NewFake(knftables.InetFamily, Table)}
	changes := 0
	for step := range 300 {
		s := world()
		for i := range 4 {
			if random.IntN(2) == 0 {
				s.Policies = append(s.Policies, policy(t, fmt.Sprint("p", i), specs[random.IntN(len(specs))]))
			}
		}
		for i := range s.Pods {
			if random.IntN(3) == 0 {
				s.Pods[i].Addresses = nil
			} else if random.IntN(3) == 0 {
				s.Pods[i].Addresses = []netip.Addr{s.Pods[i].Addresses[0].Prev()}
			}
		}
		ruleset, err := Evaluate(s)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := incremental.apply(context.Background(), ruleset); err != nil {
			t.Fatalf("step %d: %v", step, err)
		} else if n > 0 {
			changes++
		}
		fresh := &kernel{nft: knftables.NewFake(knftables.InetFamily, Table)}
		if _, err := fresh.apply(context.Background(), ruleset); err != nil {
			t.Fatalf("step %d, replacement: %v", step, err)
		}
		if got, want := contents(t, incremental), contents(t, fresh); !maps.Equal(got, want) {
			t.Fatalf("step %d: differences led to\n%v\nreplacement to\n%v", step, got, want)
		}
		heir.applied = nil // a new agent in front of the table of the last one
		if _, err := heir.apply(context.Background(), ruleset); err != nil {
			t.Fatalf("step %d, takeover: %v", step, err)
		}
		if got, want := contents(t, heir), contents(t, fresh); !maps.Equal(got, want) {
			t.Fatalf("step %d: takeover led to\n%v\nreplacement to\n%v", step, got, want)
		}
		if err := incremental.verify(context.Background()); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if n, err := incremental.apply(context.Background(), ruleset); n != 0 || err != nil {
			t.Fatalf("step %d: the same state again took %d steps, error %v", step, n, err)
		}
	}
	if changes < 200 {
		t.Errorf("only %d of 300 steps changed anything", changes)
	}
}

// contents flattens a fake's table into lines, independent of order of creation.
func contents(t *testing.T, k *kernel) map[string]string {
	t.Helper()
	table := k.nft.(*knftables.Fake).Table
	found := map[string]string{}
	for name, chain := range table.Chains {
		found["chain "+name] = ""
		for i, rule := range chain.Rules {
			found[fmt.Sprintf("chain %s rule %d", name, i)] = rule.Rule
		}
	}
	for name, set := range table.Sets {
		found["set "+name] = set.TypeOf
		for _, e := range set.Elements {
			found[fmt.Sprint("set ", name, e.Key)] = ""
		}
	}
	for name, m := range table.Maps {
		for _, e := range m.Elements {
			found[fmt.Sprint("map ", name, e.Key)] = fmt.Sprint(e.Value)
		}
	}
	return found
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]func(*knftables.Transaction){
		"flushed element": func(tx *knftables.Transaction) {
			tx.Delete(&knftables.Element{Set: knownSet, Key: []string{"10.244.1.2"}})
		},
		"deleted table": func(tx *knftables.Transaction) { tx.Delete(&knftables.Table{}) },
		"foreign chain": func(tx *knftables.Transaction) { tx.Add(&knftables.Chain{Name: "stranger"}) },
	} {
		t.Run(name, func(t *testing.T) {
			k := &kernel{nft: knftables.NewFake(knftables.InetFamily, Table)}
			ruleset, err := Evaluate(world([]*networkingv1.NetworkPolicy{policy(t, "p", `{podSelector: {}}`)}...))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.apply(ctx, ruleset); err != nil {
				t.Fatal(err)
			}
			tx := k.nft.NewTransaction()
			damage(tx)
			if err := k.nft.Run(ctx, tx); err != nil {
				t.Fatal(err)
			}
			if err := k.verify(ctx); err == nil {
				t.Fatal("the damage was not noticed")
			}
			if n, err := k.apply(ctx, ruleset); n == 0 || err != nil {
				t.Fatalf("repair took %d steps, error %v", n, err)
			}
			if err := k.verify(ctx); err != nil {
				t.Errorf("after the repair: %v", err)
			}
		})
	}
}
