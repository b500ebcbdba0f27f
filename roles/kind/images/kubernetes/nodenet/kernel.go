package nodenet

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/knftables"
)

// kernel brings rulesets into the kernel. It remembers the last one applied
// and sends differences only; not safe for concurrent use.
type kernel struct {
	nft     knftables.Interface
	applied *Ruleset // nil: unknown, the next apply replaces everything
}

// apply makes the table equal to desired in one transaction and returns how
// many steps it took.
func (k *kernel) apply(ctx context.Context, desired Ruleset) (int, error) {
	tx := k.nft.NewTransaction()
	if k.applied == nil {
		replaceAll(tx, desired)
	} else {
		change(tx, *k.applied, desired)
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

// verify compares what the kernel holds with what was applied: names of all
// objects and the elements that decide about every pod. A difference (another
// program flushed the rules) makes the next apply replace everything.
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
