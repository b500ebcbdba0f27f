package state

import (
	"math/rand/v2"
	"net/netip"
	"strings"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// normal writes a name as names are compared: in lower case, without the last dot.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Resolve implements mesh.Control. The addresses come in random order.
func (s *Store) Resolve(pod mesh.Pod, name string) ([]netip.Addr, bool) {
	state := s.current.Load()
	if !state.ready || pod.Namespace == "" {
		return nil, false
	}
	for _, candidate := range state.candidates(normal(name), pod.Namespace) {
		if addresses := state.resolve(candidate, pod.Namespace); len(addresses) > 0 {
			rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
			return addresses, true
		}
	}
	return nil, false
}

// candidates returns the full names that a question may mean, in the order of a pod's search list.
func (s *snapshot) candidates(name, namespace string) []string {
	domain := normal(s.config.ClusterDomain)
	if name == "" {
		return nil
	}
	out := []string{name}
	labels := strings.Count(name, ".") + 1
	inDomain := strings.HasSuffix(name, "."+domain)
	if !inDomain {
		switch {
		case labels == 1:
			out = append(out, name+"."+namespace+".svc."+domain)
		case strings.HasSuffix(name, ".svc"):
			out = append(out, name+"."+domain)
		default:
			out = append(out, name+".svc."+domain)
		}
	}
	// A name outside of the cluster to which a resolver put an entry of the pod's search list.
	for _, suffix := range []string{"." + namespace + ".svc." + domain, ".svc." + domain, "." + domain} {
		if rest, found := strings.CutSuffix(name, suffix); found && strings.Contains(rest, ".") {
			out = append(out, rest)
		}
	}
	return out
}

// resolve returns the addresses of a full name; none when the mesh does not know it, or not enough to answer instead of the next resolver.
func (s *snapshot) resolve(host, namespace string) []netip.Addr {
	if service := s.visibleHost(host, namespace); service != nil {
		return s.addressesOf(service)
	}
	var out []netip.Addr
	for _, workload := range s.podByHost[host] {
		if workload.Broken == "" && workload.healthy() {
			out = append(out, workload.Addresses...)
		}
	}
	if len(out) > 0 {
		return out
	}
	// *.example.com stands for names below example.com, the most specific one first.
	for rest := host; ; {
		_, parent, found := strings.Cut(rest, ".")
		if !found {
			return nil
		}
		if service := s.visibleHost("*."+parent, namespace); service != nil {
			return s.addressesOf(service)
		}
		rest = parent
	}
}

// visibleHost returns the service of a host name: of the client's namespace, else the canonical one, else the first by name.
func (s *snapshot) visibleHost(host, namespace string) *Service {
	var best *Service
	rank := func(service *Service) int {
		switch {
		case service.Source.GetNamespace() == namespace:
			return 2
		case service.Source.GetCanonical():
			return 1
		default:
			return 0
		}
	}
	for _, service := range s.byHost[host] {
		// A broken service is left to the next resolver; connections to its address are refused.
		if service.Broken == "" && service.visible(namespace) && (best == nil || rank(service) > rank(best)) {
			best = service
		}
	}
	return best
}

func (s *snapshot) addressesOf(service *Service) []netip.Addr {
	var out []netip.Addr
	endpoints := s.endpoints[service.Key]
	withAddress := 0
	for _, workload := range endpoints {
		if len(workload.Addresses) > 0 {
			withAddress++
		}
	}
	for _, vip := range service.VIPs {
		if vip.IsSingleIP() && service.takes(vip.Addr().Is4()) {
			out = append(out, vip.Addr())
		}
	}
	if len(service.VIPs) > 0 {
		if len(endpoints) > 0 && withAddress == 0 {
			return nil // its endpoints are names: this proxy cannot reach them through the address, the next resolver knows them
		}
		return out
	}
	if !strings.HasSuffix(normal(service.Source.GetHostname()), ".svc."+normal(s.config.ClusterDomain)) {
		return nil
	}
	// Headless: its endpoints.
	for _, workload := range endpoints {
		if workload.Broken != "" || workload.Source.GetNetwork() != s.config.Network || !workload.healthy() && !service.allHealth() {
			continue
		}
		for _, address := range workload.Addresses {
			if service.takes(address.Is4()) && !contains(out, address) {
				out = append(out, address)
			}
		}
	}
	return out
}
