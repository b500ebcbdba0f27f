package nodenet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// layout is the name of an empty chain that says how the table is built. It
// changes whenever base chains' hooks do: such a table cannot be taken over. A
// set that is declared otherwise gets another name instead.
const layout = "layout-1"

// kernel brings rulesets into the kernel. It remembers the last one applied
// and sends differences only; not safe for concurrent use.
type kernel struct {
	nft     knftables.Interface
	applied *Ruleset // nil: unknown, the next apply takes over what it finds
}

// apply makes the table equal to desired in one transaction and returns how
// many steps it took.
func (k *kernel) apply(ctx context.Context, desired Ruleset) (int, error) {
	tx := k.nft.NewTransaction()
	if k.applied != nil {
		change(tx, *k.applied, desired)
	} else if inherited, err := k.inherit(ctx, desired); err == nil {
		takeOver(tx, inherited, desired)
	} else {
		klog.InfoS("Building the nftables table from nothing", "reason", err.Error())
		replaceAll(tx, desired)
	}
	if tx.NumOperations() == 0 {
		return 0, nil
	}
	if err := k.nft.Run(ctx, tx); err != nil {
		k.applied = nil
		return 0, fmt.Errorf("apply %d nftables steps: %w", tx.NumOperations(), err)
	}
	k.applied = &desired
	return tx.NumOperations(), nil
}

// inherit reads the names of what an earlier agent left. It fails if there is
// no table, or one of another layout.
func (k *kernel) inherit(ctx context.Context, desired Ruleset) (Ruleset, error) {
	found := Ruleset{Sets: map[string]Set{}, Chains: map[string]Chain{}}
	chains, err := k.nft.List(ctx, "chains")
	if err != nil {
		return found, err
	}
	if !slices.Contains(chains, layout) {
		return found, fmt.Errorf("the table has no chain %s", layout)
	}
	for _, name := range chains {
		found.Chains[name] = Chain{Rules: []string{"unknown"}}
	}
	for _, kind := range []string{"sets", "maps"} {
		names, err := k.nft.List(ctx, kind)
		if err != nil {
			return found, err
		}
		for _, name := range names {
			set := Set{Map: kind == "maps"}
			if strings.HasPrefix(name, blocksPrefix) {
				set = desired.Sets[name] // named by content, so equal if still wanted
			}
			found.Sets[name] = set
		}
	}
	// A base chain that is new with this agent is added to those that are there.
	return found, nil
}

// verify compares what the kernel holds with what was applied: names of all
// objects and the elements that decide about every pod. A difference (another
// program flushed the rules) makes the next apply set everything again.
func (k *kernel) verify(ctx context.Context) error {
	if k.applied == nil {
		return nil
	}
	err := k.compare(ctx)
	if err != nil {
		k.applied = nil
	}
	return err
}

func (k *kernel) compare(ctx context.Context) error {
	var sets, maps, chains []string
	for name, set := range k.applied.Sets {
		if set.Map {
			maps = append(maps, name)
		} else {
			sets = append(sets, name)
		}
	}
	for name := range k.applied.Chains {
		chains = append(chains, name)
	}
	for kind, wanted := range map[string][]string{"sets": sets, "maps": maps, "chains": chains} {
		found, err := k.nft.List(ctx, kind)
		if err != nil {
			return fmt.Errorf("list nftables %s: %w", kind, err)
		}
		slices.Sort(found)
		slices.Sort(wanted)
		if !slices.Equal(found, wanted) {
			return fmt.Errorf("nftables %s in the kernel are %v, applied were %v", kind, found, wanted)
		}
	}
	for name, kind := range map[string]string{knownSet: "set", ingressMap: "map", egressMap: "map"} {
		elements, err := k.nft.ListElements(ctx, kind, name)
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", name, err)
		}
		if len(elements) != len(k.applied.Sets[name].Elements) {
			return fmt.Errorf("%s %s has %d elements in the kernel, %d were applied",
				kind, name, len(elements), len(k.applied.Sets[name].Elements))
		}
	}
	return nil
}
