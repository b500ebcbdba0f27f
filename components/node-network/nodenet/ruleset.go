package nodenet

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

// Table is the one nftables table (family inet) that belongs to the agent.
const Table = "bookstore-netpol"

// Ruleset is the desired content of the table, by object name.
type Ruleset struct {
	Sets   map[string]Set
	Chains map[string]Chain
}

// Set is an nftables set, or a map when Map is true. Elements maps a key in
// nft syntax ("10.0.0.1 . tcp . 80") to its value, which is empty for sets.
// TypeOf is an expression and no type's name: what nft 1.1 notes about a set
// that was declared by a type's name makes nft 1.0, the node's, crash whenever
// it lists anything.
type Set struct {
	TypeOf   string
	Interval bool
	Map      bool
	Elements map[string]string
}

// Chain is a list of rules in nft syntax; Hook is nil except for base chains.
type Chain struct {
	Hook  *Hook
	Rules []string
}

// Hook says where a base chain is attached.
type Hook struct {
	Type     knftables.BaseChainType
	Hook     knftables.BaseChainHook
	Priority knftables.BaseChainPriority
}

// takeOver fills tx with the steps from a table of which only the names are
// known. The base chains stay: were they deleted and created again, even in
// one transaction, a packet could meet the new chain before and the old one
// after the switch, both empty, and pass. (The proof saw it happen.)
func takeOver(tx *knftables.Transaction, inherited, desired Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(inherited.Sets)) {
		switch set := inherited.Sets[name]; {
		case strings.HasPrefix(name, blocksPrefix):
		case set.Map:
			tx.Flush(&knftables.Map{Name: name})
		default:
			tx.Flush(&knftables.Set{Name: name})
		}
	}
	change(tx, inherited, desired)
}

// replaceAll fills tx with the replacement of the whole table, for the first
// start on a node and for a table of another layout.
func replaceAll(tx *knftables.Transaction, desired Ruleset) {
	table := &knftables.Table{}
	tx.Add(table) // so that the deletion has something to delete
	tx.Delete(table)
	tx.Add(table)
	change(tx, Ruleset{}, desired)
}

// change fills tx with the steps from one ruleset to another. The order keeps
// every reference valid: objects exist before they are named, and nothing
// names them any more when they are deleted.
func change(tx *knftables.Transaction, from, to Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(to.Sets)) {
		if _, exists := from.Sets[name]; !exists {
			addSet(tx, name, to.Sets[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(to.Chains)) {
		if _, exists := from.Chains[name]; !exists {
			addChain(tx, name, to.Chains[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Sets)) {
		for _, key := range slices.Sorted(maps.Keys(from.Sets[name].Elements)) {
			if value, stays := to.Sets[name].Elements[key]; !stays || value != from.Sets[name].Elements[key] {
				// A set that goes takes its elements along; a map must let go of its chains first.
				if _, kept := to.Sets[name]; kept || from.Sets[name].Map {
					tx.Delete(element(name, from.Sets[name].Map, key, from.Sets[name].Elements[key]))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Chains)) {
		if next, stays := to.Chains[name]; !stays || !slices.Equal(next.Rules, from.Chains[name].Rules) {
			tx.Flush(&knftables.Chain{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(to.Chains)) {
		if before, existed := from.Chains[name]; existed && slices.Equal(before.Rules, to.Chains[name].Rules) {
			continue
		}
		for _, rule := range to.Chains[name].Rules {
			tx.Add(&knftables.Rule{Chain: name, Rule: rule})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(to.Sets)) {
		for _, key := range slices.Sorted(maps.Keys(to.Sets[name].Elements)) {
			value := to.Sets[name].Elements[key]
			if before, existed := from.Sets[name].Elements[key]; !existed || before != value {
				tx.Add(element(name, to.Sets[name].Map, key, value))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Chains)) {
		if _, stays := to.Chains[name]; !stays {
			tx.Delete(&knftables.Chain{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Sets)) {
		if _, stays := to.Sets[name]; !stays {
			if from.Sets[name].Map {
				tx.Delete(&knftables.Map{Name: name})
			} else {
				tx.Delete(&knftables.Set{Name: name})
			}
		}
	}
}

func addSet(tx *knftables.Transaction, name string, set Set) {
	var flags []knftables.SetFlag
	if set.Interval {
		flags = append(flags, knftables.IntervalFlag)
	}
	if set.Map {
		tx.Add(&knftables.Map{Name: name, TypeOf: set.TypeOf, Flags: flags})
		return
	}
	tx.Add(&knftables.Set{Name: name, TypeOf: set.TypeOf, Flags: flags})
}

func addChain(tx *knftables.Transaction, name string, chain Chain) {
	object := &knftables.Chain{Name: name}
	if chain.Hook != nil {
		object.Type = &chain.Hook.Type
		object.Hook = &chain.Hook.Hook
		object.Priority = &chain.Hook.Priority
	}
	tx.Add(object)
}

func element(set string, isMap bool, key, value string) *knftables.Element {
	if isMap {
		return &knftables.Element{Map: set, Key: []string{key}, Value: []string{value}}
	}
	return &knftables.Element{Set: set, Key: []string{key}}
}
