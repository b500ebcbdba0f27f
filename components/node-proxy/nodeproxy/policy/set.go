package policy

import (
	"sort"

	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// Set is a state of all policies. It does not change after NewSet.
type Set struct {
	byKey       map[string]*Policy
	global      []*Policy
	byNamespace map[string][]*Policy
}

// NewSet indexes the policies by their scope. A broken policy of an unknown scope counts for its namespace, and for the whole mesh if
// that is the root namespace, because there it could have been a policy of the mesh.
func NewSet(policies map[string]*Policy, rootNamespace string) *Set {
	set := &Set{byKey: make(map[string]*Policy, len(policies)), byNamespace: map[string][]*Policy{}}
	keys := make([]string, 0, len(policies))
	for key := range policies {
		keys = append(keys, key)
	}
	sort.Strings(keys) // the same policy is named each time when several decide alike
	for _, key := range keys {
		one := policies[key]
		set.byKey[key] = one
		switch {
		case one.scope == security.Scope_GLOBAL, one.scope == unknownScope && one.Namespace == rootNamespace:
			set.global = append(set.global, one)
		case one.scope == security.Scope_NAMESPACE, one.scope == unknownScope:
			set.byNamespace[one.Namespace] = append(set.byNamespace[one.Namespace], one)
		}
	}
	return set
}

// Keys returns the names of all policies, sorted.
func (s *Set) Keys() []string {
	keys := make([]string, 0, len(s.byKey))
	for key := range s.byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// Get returns the policy of this name, nil if there is none.
func (s *Set) Get(key string) *Policy { return s.byKey[key] }

// Evaluate judges a connection into a workload of this namespace for which istiod lists these policies.
func (s *Set) Evaluate(namespace string, listed []string, connection mesh.Connection) mesh.Decision {
	from, err := newPeer(connection)
	if err != nil {
		return mesh.Decision{Reason: "denied: " + err.Error()}
	}
	applicable := make([]*Policy, 0, len(s.global)+len(s.byNamespace[namespace])+len(listed))
	applicable = append(applicable, s.global...)
	applicable = append(applicable, s.byNamespace[namespace]...)
	for _, key := range listed {
		one := s.byKey[key]
		if one == nil {
			return mesh.Decision{Reason: "denied: policy " + key + " is listed for the workload and has not arrived"}
		}
		applicable = append(applicable, one)
	}
	for _, one := range applicable {
		if one.Broken != "" {
			return mesh.Decision{Reason: "denied: policy " + one.Key + " cannot be understood: " + one.Broken}
		}
	}
	for _, one := range applicable {
		if one.deny && !one.dryRun && one.matches(from) {
			return mesh.Decision{Reason: "denied by policy " + one.Key}
		}
	}
	restricted := false
	for _, one := range applicable {
		if one.deny || one.dryRun {
			continue
		}
		restricted = true
		if one.matches(from) {
			return mesh.Decision{Allowed: true, Reason: "allowed by policy " + one.Key}
		}
	}
	if restricted {
		return mesh.Decision{Reason: "denied: no ALLOW policy matches"}
	}
	return mesh.Decision{Allowed: true, Reason: "allowed: no policy restricts the workload"}
}
