// Package state holds what istiod told of workloads, services and policies, and answers the data plane from it (mesh.Control).
//
// The writer builds a new snapshot for each discovery response and swaps it in at once; readers take the current one without a lock and
// never see half of a response. A snapshot is built from all held resources anew, so it does not depend on the order of their arrival.
package state

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/policy"
)

// Config is what the store has to know of its place.
type Config struct {
	// ClusterID is the cluster's name in istiod, for the names of pods.
	ClusterID string
	// Network is the network of this node; empty for the default one.
	Network string
	// ClusterDomain is the domain of the cluster's names, for example cluster.local.
	ClusterDomain string
	// RootNamespace is the namespace whose policies may be for the whole mesh.
	RootNamespace string
}

// Store is the state of the mesh. It implements mesh.Control.
type Store struct {
	config  Config
	current atomic.Pointer[snapshot]

	mutex                           sync.Mutex
	entries                         map[string]*entry
	policies                        map[string]*policy.Policy
	haveAddresses, havePolicies     bool
	sequence                        uint64
	changed                         chan struct{}
	rejectedAddresses, rejectedRule uint64
}

var _ mesh.Control = (*Store)(nil)

// New returns a store that knows nothing yet and therefore refuses everything.
func New(config Config) *Store {
	if config.ClusterDomain == "" {
		config.ClusterDomain = "cluster.local"
	}
	s := &Store{config: config, entries: map[string]*entry{}, policies: map[string]*policy.Policy{}, changed: make(chan struct{})}
	s.current.Store(s.build(policy.NewSet(nil, config.RootNamespace)))
	return s
}

// ApplyAddresses takes a response of workloads and services: removals before additions. With whole it is the whole state, and what is not
// in it is gone. It returns what could not be understood, by name; that is held as broken, everything else is applied.
func (s *Store) ApplyAddresses(whole bool, removed []string, added []Resource) map[string]error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	earlier := s.entries
	next := make(map[string]*entry, len(earlier)+len(added))
	if !whole {
		for name, one := range earlier {
			next[name] = one
		}
	}
	for _, name := range removed {
		delete(next, name)
	}
	rejected := map[string]error{}
	for _, resource := range added {
		one, err := s.parse(resource, earlier[resource.Name])
		if err != nil {
			rejected[resource.Name] = err
		}
		next[resource.Name] = one
	}
	s.entries, s.haveAddresses = next, true
	s.rejectedAddresses += uint64(len(rejected))
	s.publish(s.build(s.current.Load().policies))
	return rejected
}

// ApplyPolicies takes a response of authorization policies, as ApplyAddresses does.
func (s *Store) ApplyPolicies(whole bool, removed []string, added []Resource) map[string]error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	next := make(map[string]*policy.Policy, len(s.policies)+len(added))
	if !whole {
		for name, one := range s.policies {
			next[name] = one
		}
	}
	for _, name := range removed {
		delete(next, name)
	}
	rejected := map[string]error{}
	for _, resource := range added {
		data := resource.Data
		if resource.Err != nil {
			data = []byte{0xff} // no message: the policy is held as one that cannot be read
		}
		one, err := policy.Parse(resource.Name, data)
		if resource.Err != nil {
			err = fmt.Errorf("policy %s: %w", resource.Name, resource.Err)
		}
		if err != nil {
			rejected[resource.Name] = err
		}
		next[resource.Name] = one
	}
	s.policies, s.havePolicies = next, true
	s.rejectedRule += uint64(len(rejected))
	after := *s.current.Load() // the indexes of workloads and services stay as they are
	after.ready, after.policies = s.haveAddresses && s.havePolicies, policy.NewSet(next, s.config.RootNamespace)
	s.publish(&after)
	return rejected
}

// publish swaps the snapshot in and tells those who wait; the caller holds the lock.
func (s *Store) publish(after *snapshot) {
	s.current.Store(after)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed implements mesh.Control. Take the channel before judging: then no change is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.changed
}

// Rejected returns how many resources could not be understood so far: addresses and policies.
func (s *Store) Rejected() (addresses, policies uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.rejectedAddresses, s.rejectedRule
}

// Ready implements mesh.Control.
func (s *Store) Ready() bool { return s.current.Load().ready }

// Identity implements mesh.Control. The identity is written with its prefix spiffe://.
func (s *Store) Identity(pod mesh.Pod) (string, error) {
	workload, err := s.current.Load().pod(pod)
	if err != nil {
		return "", err
	}
	return workload.Identity.URI(), nil
}

// ports that belong to the proxy itself: a connection that asks for one of them would come back to it.
func ownPort(port uint16) bool {
	return port == 15001 || port == 15006 || port == 15008 || port == 15053
}

// Inbound implements mesh.Control.
func (s *Store) Inbound(pod mesh.Pod, connection mesh.Connection) mesh.Decision {
	state := s.current.Load()
	if !state.ready {
		return mesh.Decision{Reason: "denied: workloads and policies have not arrived from istiod yet"}
	}
	workload, err := state.pod(pod)
	if err != nil {
		return mesh.Decision{Reason: "denied: " + err.Error()}
	}
	destination := netip.AddrPortFrom(connection.Destination.Addr().Unmap().WithZone(""), connection.Destination.Port())
	if !contains(workload.Addresses, destination.Addr()) {
		return mesh.Decision{Reason: "denied: " + destination.Addr().String() + " is not an address of the pod"}
	}
	if ownPort(destination.Port()) {
		return mesh.Decision{Reason: fmt.Sprintf("denied: port %d is the proxy's own", destination.Port())}
	}
	if workload.Source.GetApplicationTunnel() != nil {
		return mesh.Decision{Reason: "denied: the pod asks for an application tunnel, which this proxy does not support"}
	}
	return state.policies.Evaluate(workload.Source.GetNamespace(), workload.Source.GetAuthorizationPolicies(), connection)
}

func contains(list []netip.Addr, address netip.Addr) bool {
	for _, one := range list {
		if one == address {
			return true
		}
	}
	return false
}
