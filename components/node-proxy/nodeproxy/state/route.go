package state

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"istio.io/istio/pkg/workloadapi"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// tunnelPort is the port on which each node proxy takes tunnels for its pods.
const tunnelPort = 15008

func refuse(format string, values ...any) mesh.Route {
	return mesh.Route{Action: mesh.Refuse, Reason: "refused: " + fmt.Sprintf(format, values...)}
}

// Outbound implements mesh.Control.
func (s *Store) Outbound(pod mesh.Pod, destination netip.AddrPort) mesh.Route {
	state := s.current.Load()
	if !state.ready {
		return refuse("workloads and policies have not arrived from istiod yet")
	}
	client, err := state.pod(pod)
	if err != nil {
		return refuse("%s", err)
	}
	destination = netip.AddrPortFrom(destination.Addr().Unmap().WithZone(""), destination.Port())
	if !destination.IsValid() {
		return refuse("the destination is no address")
	}
	if service := state.service(destination.Addr(), pod.Namespace); service != nil {
		return state.toService(client, service, destination)
	}
	if workload := state.byAddress[destination.Addr()]; workload != nil {
		return state.toWorkload(workload, nil, destination)
	}
	return mesh.Route{Action: mesh.PassThrough, Target: destination}
}

func (s *snapshot) toService(client *Workload, service *Service, destination netip.AddrPort) mesh.Route {
	labels := serviceLabels(service)
	refused := func(format string, values ...any) mesh.Route {
		route := refuse(format, values...)
		route.Labels = labels
		return route
	}
	if service.Broken != "" {
		return refused("what istiod tells of service %s cannot be understood: %s", service.Key, service.Broken)
	}
	if service.Source.GetWaypoint() != nil || len(service.Source.GetWeightedWaypoints()) > 0 {
		return refused("service %s asks for a waypoint, which this proxy does not support", service.Key)
	}
	if service.Source.GetLoadBalancing().GetMode() == workloadapi.LoadBalancing_PASSTHROUGH {
		if workload := s.byAddress[destination.Addr()]; workload != nil {
			return s.toWorkload(workload, service, destination)
		}
		return mesh.Route{Action: mesh.PassThrough, Target: destination, Labels: labels}
	}
	chosen, target, reason := s.choose(client, service, destination)
	if chosen == nil {
		return refused("service %s %s", service.Key, reason)
	}
	return s.toWorkload(chosen, service, target)
}

// toWorkload returns the way to an endpoint, found by its address or through a service.
func (s *snapshot) toWorkload(workload *Workload, service *Service, target netip.AddrPort) mesh.Route {
	labels := workloadLabels("destination_", workload)
	known := service
	if known == nil {
		known = s.onlyService(workload)
	}
	for key, value := range serviceLabels(known) {
		labels[key] = value
	}
	refused := func(format string, values ...any) mesh.Route {
		route := refuse(format, values...)
		route.Labels = labels
		return route
	}
	name := workload.Source.GetUid()
	switch {
	case workload.Broken != "":
		return refused("what istiod tells of workload %s cannot be understood: %s", name, workload.Broken)
	case workload.Source.GetNetwork() != s.config.Network:
		return refused("workload %s is on network %q, which this proxy does not reach", name, workload.Source.GetNetwork())
	case workload.Source.GetWaypoint() != nil:
		return refused("workload %s asks for a waypoint, which this proxy does not support", name)
	case workload.Source.GetApplicationTunnel() != nil:
		return refused("workload %s asks for an application tunnel, which this proxy does not support", name)
	case workload.Source.GetTunnelProtocol() != workloadapi.TunnelProtocol_HBONE:
		return mesh.Route{Action: mesh.Plain, Target: target, Labels: labels}
	}
	if _, err := spiffeid.Parse(workload.Identity.URI()); err != nil {
		return refused("workload %s has no identity: %s", name, err)
	}
	accepted := []string{workload.Identity.URI()}
	for _, san := range service.subjectAltNames() {
		// Others than identities of workloads cannot be proven to a tunnel.
		if id, err := spiffeid.Parse(san); err == nil && strings.HasPrefix(san, spiffeid.Prefix) && id != workload.Identity {
			accepted = append(accepted, san)
		}
	}
	return mesh.Route{
		Action: mesh.Tunnel, Target: target, Gateway: netip.AddrPortFrom(target.Addr(), tunnelPort), Accepted: accepted, Labels: labels,
	}
}

func (s *Service) subjectAltNames() []string {
	if s == nil {
		return nil
	}
	return s.Source.GetSubjectAltNames()
}

// choose picks an endpoint of the service for the client, or says why there is none.
func (s *snapshot) choose(client *Workload, service *Service, destination netip.AddrPort) (*Workload, netip.AddrPort, string) {
	servicePort := portOf(service.Source.GetPorts(), destination.Port())
	if servicePort == nil {
		return nil, netip.AddrPort{}, fmt.Sprintf("has no port %d", destination.Port())
	}
	balancing := service.Source.GetLoadBalancing()
	best, bestRank := []candidate(nil), -1
	skipped := map[string]int{}
	for _, workload := range s.endpoints[service.Key] {
		target, reason := s.target(client, service, workload, servicePort, destination)
		rank := 0
		if reason == "" && balancing.GetMode() != workloadapi.LoadBalancing_UNSPECIFIED_MODE {
			rank = matchingScopes(client, workload, balancing.GetRoutingPreference())
			if balancing.GetMode() == workloadapi.LoadBalancing_STRICT && rank < len(balancing.GetRoutingPreference()) {
				reason = "not in the client's locality, which the service demands"
			}
		}
		switch {
		case reason != "":
			skipped[reason]++
		case rank > bestRank:
			best, bestRank = []candidate{{workload, target}}, rank
		case rank == bestRank:
			best = append(best, candidate{workload, target})
		}
	}
	if len(best) == 0 {
		if len(skipped) == 0 {
			return nil, netip.AddrPort{}, "has no endpoints"
		}
		return nil, netip.AddrPort{}, "has no endpoint that can be used: " + counts(skipped)
	}
	chosen := weighted(best)
	return chosen.workload, chosen.target, ""
}

type candidate struct {
	workload *Workload
	target   netip.AddrPort
}

// target returns where the service's traffic enters the endpoint, or why it cannot.
func (s *snapshot) target(client *Workload, service *Service, workload *Workload, servicePort *workloadapi.Port,
	destination netip.AddrPort,
) (netip.AddrPort, string) {
	switch {
	case workload.Broken != "":
		return netip.AddrPort{}, "not understood"
	case workload.Source.GetNetwork() != s.config.Network:
		return netip.AddrPort{}, "on another network"
	case !workload.healthy() && !service.allHealth():
		return netip.AddrPort{}, "not healthy"
	case len(workload.Addresses) == 0:
		return netip.AddrPort{}, "without an address"
	case capacity(workload) == 0:
		return netip.AddrPort{}, "without capacity"
	}
	address := netip.Addr{}
	for _, one := range workload.Addresses {
		usable := service.takes(one.Is4()) && (one.Is4() == destination.Addr().Is4() || client.has(one.Is4()))
		if usable && (!address.IsValid() || one.Is4() == destination.Addr().Is4() && address.Is4() != one.Is4()) {
			address = one
		}
	}
	if !address.IsValid() {
		return netip.AddrPort{}, "without an address of a family that can be used"
	}
	// The endpoint's own list resolves named ports; the service's counts for endpoints that do not tell.
	port := portOf(workload.Source.GetServices()[service.Key].GetPorts(), destination.Port())
	if port == nil || port.GetTargetPort() == 0 {
		port = servicePort
	}
	if port.GetTargetPort() == 0 {
		return netip.AddrPort{}, "without the named port"
	}
	return netip.AddrPortFrom(address, uint16(port.GetTargetPort())), "" //nolint:gosec // parsing refuses ports above 65535
}

func portOf(ports []*workloadapi.Port, number uint16) *workloadapi.Port {
	for _, port := range ports {
		if port.GetServicePort() == uint32(number) {
			return port
		}
	}
	return nil
}

// matchingScopes returns how many of the scopes, from the first on, the endpoint shares with the client.
func matchingScopes(client, workload *Workload, scopes []workloadapi.LoadBalancing_Scope) int {
	a, b := client.Source, workload.Source
	for i, scope := range scopes {
		same := false
		switch scope {
		case workloadapi.LoadBalancing_REGION:
			same = a.GetLocality().GetRegion() == b.GetLocality().GetRegion()
		case workloadapi.LoadBalancing_ZONE:
			same = a.GetLocality().GetZone() == b.GetLocality().GetZone()
		case workloadapi.LoadBalancing_SUBZONE:
			same = a.GetLocality().GetSubzone() == b.GetLocality().GetSubzone()
		case workloadapi.LoadBalancing_NODE:
			same = a.GetNode() == b.GetNode()
		case workloadapi.LoadBalancing_CLUSTER:
			same = a.GetClusterId() == b.GetClusterId()
		case workloadapi.LoadBalancing_NETWORK:
			same = a.GetNetwork() == b.GetNetwork()
		}
		if !same {
			return i
		}
	}
	return len(scopes)
}

func capacity(workload *Workload) uint32 {
	if given := workload.Source.GetCapacity(); given != nil {
		return given.GetValue()
	}
	return 1
}

func weighted(list []candidate) candidate {
	total := uint64(0)
	for _, one := range list {
		total += uint64(capacity(one.workload))
	}
	at := rand.Uint64N(total)
	for _, one := range list {
		weight := uint64(capacity(one.workload))
		if at < weight {
			return one
		}
		at -= weight
	}
	return list[len(list)-1]
}
