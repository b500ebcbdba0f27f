package state

import (
	"sort"

	"bookstore.platform/istio/nodeproxy/policy"
)

// Contents is what the store holds, for the configuration dump. Nothing in it may be changed.
type Contents struct {
	Ready     bool
	Workloads []*Workload
	Services  []*Service
	Policies  []*policy.Policy
	// Endpoints are the workloads of each service, by its key.
	Endpoints map[string][]*Workload
	// Unreadable names the resources of which nothing could be read, with the reason.
	Unreadable map[string]string
}

// Contents returns what the store holds now, sorted by name.
func (s *Store) Contents() Contents {
	now := s.current.Load()
	out := Contents{Ready: now.ready, Endpoints: now.endpoints, Unreadable: map[string]string{}}
	names := make([]string, 0, len(now.entries))
	for name := range now.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		one := now.entries[name]
		if one.workload != nil {
			out.Workloads = append(out.Workloads, one.workload)
		}
		if one.service != nil {
			out.Services = append(out.Services, one.service)
		}
		if one.workload == nil && one.service == nil {
			out.Unreadable[name] = one.broken
		}
	}
	for _, key := range now.policies.Keys() {
		out.Policies = append(out.Policies, now.policies.Get(key))
	}
	return out
}
