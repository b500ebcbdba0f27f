package state

import (
	"fmt"
	"net/netip"
	"sort"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/policy"
)

// snapshot is the state after a response. It never changes.
type snapshot struct {
	config    Config
	ready     bool
	entries   map[string]*entry
	byAddress map[netip.Addr]*Workload
	byVIP     map[netip.Addr][]*Service
	// blocks are the services with a prefix instead of an address.
	blocks []block
	// endpoints are the workloads of a service, sorted by their names.
	endpoints map[string][]*Workload
	// services and workloads by host name; the names are in lower case and without the last dot.
	byHost    map[string][]*Service
	podByHost map[string][]*Workload
	policies  *policy.Set
}

type block struct {
	prefix  netip.Prefix
	service *Service
}

// build makes a snapshot of the held workloads and services and of these policies; the caller holds the lock.
func (s *Store) build(policies *policy.Set) *snapshot {
	out := &snapshot{
		config: s.config, ready: s.haveAddresses && s.havePolicies, entries: s.entries,
		byAddress: map[netip.Addr]*Workload{}, byVIP: map[netip.Addr][]*Service{}, endpoints: map[string][]*Workload{},
		byHost: map[string][]*Service{}, podByHost: map[string][]*Workload{}, policies: policies,
	}
	names := make([]string, 0, len(s.entries))
	for name := range s.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if workload := s.entries[name].workload; workload != nil {
			out.addWorkload(workload)
		}
		if service := s.entries[name].service; service != nil {
			out.addService(service)
		}
	}
	return out
}

func (s *snapshot) addWorkload(workload *Workload) {
	for key := range workload.Source.GetServices() {
		s.endpoints[key] = append(s.endpoints[key], workload)
	}
	if workload.Source.GetNetwork() != s.config.Network {
		return // its addresses may be those of others here
	}
	if host := normal(workload.Source.GetHostname()); host != "" && len(workload.Addresses) > 0 {
		s.podByHost[host] = append(s.podByHost[host], workload)
	}
	if workload.hostNetwork() {
		return // it shares its address with others
	}
	for _, address := range workload.Addresses {
		if held := s.byAddress[address]; held == nil || held.sequence < workload.sequence {
			s.byAddress[address] = workload
		}
	}
}

func (s *snapshot) addService(service *Service) {
	for _, vip := range service.VIPs {
		if vip.IsSingleIP() {
			s.byVIP[vip.Addr()] = append(s.byVIP[vip.Addr()], service)
		} else {
			s.blocks = append(s.blocks, block{vip, service})
		}
	}
	if host := normal(service.Source.GetHostname()); host != "" {
		s.byHost[host] = append(s.byHost[host], service)
	}
}

// pod returns the workload of a pod of this node.
func (s *snapshot) pod(pod mesh.Pod) (*Workload, error) {
	if pod.Namespace == "" || pod.Name == "" || pod.ServiceAccount == "" {
		return nil, fmt.Errorf("the pod was announced without namespace, name or service account")
	}
	name := s.config.ClusterID + "//Pod/" + pod.Namespace + "/" + pod.Name
	held := s.entries[name]
	switch {
	case held == nil:
		return nil, fmt.Errorf("istiod has not told of pod %s/%s yet", pod.Namespace, pod.Name)
	case held.broken != "":
		return nil, fmt.Errorf("what istiod tells of pod %s/%s cannot be understood: %s", pod.Namespace, pod.Name, held.broken)
	case held.workload == nil:
		return nil, fmt.Errorf("istiod tells of a service under the name of pod %s/%s", pod.Namespace, pod.Name)
	case held.workload.Identity.Namespace != pod.Namespace || held.workload.Identity.ServiceAccount != pod.ServiceAccount:
		// A StatefulSet's pod keeps its name when it is made anew under another account.
		return nil, fmt.Errorf("istiod tells of pod %s/%s with account %s, the pod runs as %s", pod.Namespace, pod.Name,
			held.workload.Identity.ServiceAccount, pod.ServiceAccount)
	}
	return held.workload, nil
}

// service returns the service of an address for clients of a namespace: one of their own namespace before others, an exact address
// before a prefix, a longer prefix before a shorter one, then the first by name. A broken service counts, whoever may see it.
func (s *snapshot) service(address netip.Addr, namespace string) *Service {
	var best *Service
	bestOwn, bestLength := false, -1
	consider := func(service *Service, length int) {
		if service.Broken == "" && !service.visible(namespace) {
			return
		}
		own := service.Source.GetNamespace() == namespace
		better := own && !bestOwn || own == bestOwn && length > bestLength
		if best == nil || better {
			best, bestOwn, bestLength = service, own, length
		}
	}
	for _, service := range s.byVIP[address] {
		consider(service, address.BitLen())
	}
	for _, one := range s.blocks {
		if one.prefix.Contains(address) {
			consider(one.service, one.prefix.Bits())
		}
	}
	return best
}
