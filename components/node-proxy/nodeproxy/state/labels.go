package state

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// Describe implements mesh.Control. The labels are given for both sides, source_… and destination_…: the caller takes the side that the
// workload is on (mesh.Labels.Side).
func (s *Store) Describe(address netip.Addr) mesh.Labels {
	state := s.current.Load()
	workload := state.byAddress[address.Unmap().WithZone("")]
	if workload == nil {
		return mesh.Labels{}
	}
	labels := workloadLabels("source_", workload)
	for key, value := range workloadLabels("destination_", workload) {
		labels[key] = value
	}
	for key, value := range serviceLabels(state.onlyService(workload)) {
		labels[key] = value
	}
	return labels
}

func workloadLabels(side string, workload *Workload) mesh.Labels {
	source := workload.Source
	name := source.GetWorkloadName()
	if name == "" {
		name = source.GetName()
	}
	return mesh.Labels{
		side + "workload":           name,
		side + "workload_namespace": source.GetNamespace(),
		side + "canonical_service":  source.GetCanonicalName(),
		side + "canonical_revision": source.GetCanonicalRevision(),
		side + "app":                source.GetCanonicalName(),
		side + "version":            source.GetCanonicalRevision(),
		side + "cluster":            source.GetClusterId(),
		side + "principal":          workload.Identity.URI(),
	}
}

func serviceLabels(service *Service) mesh.Labels {
	if service == nil {
		return nil
	}
	return mesh.Labels{
		"destination_service":           service.Source.GetHostname(),
		"destination_service_name":      service.Source.GetName(),
		"destination_service_namespace": service.Source.GetNamespace(),
	}
}

// onlyService returns the service of a workload that belongs to one and no other: then traffic to its address counts as the service's.
func (s *snapshot) onlyService(workload *Workload) *Service {
	if len(workload.Source.GetServices()) != 1 {
		return nil
	}
	for key := range workload.Source.GetServices() {
		if held := s.entries[key]; held != nil && held.service != nil && held.broken == "" {
			return held.service
		}
	}
	return nil
}

// counts writes why endpoints were left out, as "2 not healthy, 1 on another network".
func counts(reasons map[string]int) string {
	var out []string
	for reason, number := range reasons {
		out = append(out, fmt.Sprintf("%d %s", number, reason))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}
