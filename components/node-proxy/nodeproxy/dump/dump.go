package dump

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/identity"
	"bookstore.platform/istio/nodeproxy/policy"
	"bookstore.platform/istio/nodeproxy/state"
)

// New writes the dump of a store and of the certificates; pods are those that the data plane serves, by their uid.
func New(contents state.Contents, held []identity.Held, roots []*x509.Certificate, pods map[string]WorkloadState) Dump {
	out := Dump{
		Workloads: []Workload{}, Services: []Service{}, Policies: []Policy{}, Certificates: []Certificate{}, WorkloadState: pods,
		Unreadable: contents.Unreadable,
	}
	if out.WorkloadState == nil {
		out.WorkloadState = map[string]WorkloadState{}
	}
	for _, one := range contents.Workloads {
		out.Workloads = append(out.Workloads, workload(one))
	}
	for _, one := range contents.Services {
		out.Services = append(out.Services, service(one, contents.Endpoints[one.Key]))
	}
	for _, one := range contents.Policies {
		out.Policies = append(out.Policies, rules(one))
	}
	for _, one := range held {
		state := "Available"
		switch {
		case len(one.Chain) > 0:
		case one.Failure == "":
			state = "Initializing"
		default:
			state = "Unavailable: " + one.Failure
		}
		out.Certificates = append(out.Certificates, Certificate{
			Identity: one.Identity, State: state, CertChain: certs(one.Chain), RootCerts: certs(roots),
		})
	}
	return out
}

func workload(one *state.Workload) Workload {
	source := one.Source
	out := Workload{
		UID: source.GetUid(), Waypoint: gateway(source.GetWaypoint()), NetworkGateway: gateway(source.GetNetworkGateway()),
		Protocol: "TCP", Name: source.GetName(), Namespace: source.GetNamespace(), ServiceAccount: one.Identity.ServiceAccount,
		WorkloadName: source.GetWorkloadName(), WorkloadType: strings.ToLower(source.GetWorkloadType().String()),
		CanonicalName: source.GetCanonicalName(), CanonicalRevision: source.GetCanonicalRevision(), ClusterID: source.GetClusterId(),
		TrustDomain: one.Identity.TrustDomain, Node: source.GetNode(), Network: source.GetNetwork(), Status: title(source.GetStatus().String()),
		Hostname: source.GetHostname(), Capacity: 1, AuthorizationPolicies: source.GetAuthorizationPolicies(), Broken: one.Broken,
		Locality: Locality{Region: source.GetLocality().GetRegion(), Zone: source.GetLocality().GetZone(), Subzone: source.GetLocality().GetSubzone()},
	}
	if source.GetTunnelProtocol() == workloadapi.TunnelProtocol_HBONE {
		out.Protocol = "HBONE"
	}
	if source.GetCapacity() != nil {
		out.Capacity = source.GetCapacity().GetValue()
	}
	if tunnel := source.GetApplicationTunnel(); tunnel != nil {
		out.ApplicationTunnel = &ApplicationTunnel{Protocol: tunnel.GetProtocol().String(), Port: uint16(min(tunnel.GetPort(), 65535))}
	}
	for _, address := range one.Addresses {
		out.WorkloadIPs = append(out.WorkloadIPs, address.String())
	}
	return out
}

func service(one *state.Service, endpoints []*state.Workload) Service {
	source := one.Source
	out := Service{
		Name: source.GetName(), Namespace: source.GetNamespace(), Hostname: source.GetHostname(), VIPs: []string{}, Ports: map[string]uint32{},
		Waypoint: gateway(source.GetWaypoint()), Endpoints: map[string]Endpoint{}, SubjectAltNames: source.GetSubjectAltNames(),
		IPFamilies: title(source.GetIpFamilies().String()), Canonical: source.GetCanonical(), Visibility: title(source.GetVisibility().String()),
		Broken: one.Broken,
	}
	for _, vip := range source.GetAddresses() {
		address, ok := netip.AddrFromSlice(vip.GetAddress())
		switch {
		case !ok:
		case vip.Length != nil && int(vip.GetLength()) != address.BitLen():
			out.CIDRVIPs = append(out.CIDRVIPs, vip.GetNetwork()+"/"+address.String()+"/"+strconv.Itoa(int(vip.GetLength())))
		default:
			out.VIPs = append(out.VIPs, vip.GetNetwork()+"/"+address.String())
		}
	}
	for _, port := range source.GetPorts() {
		out.Ports[strconv.Itoa(int(port.GetServicePort()))] = port.GetTargetPort()
	}
	if balancing := source.GetLoadBalancing(); balancing != nil {
		out.LoadBalancer = &LoadBalancer{
			Mode: title(balancing.GetMode().String()), HealthPolicy: title(balancing.GetHealthPolicy().String()), RoutingPreferences: []string{},
		}
		if balancing.GetMode() == workloadapi.LoadBalancing_UNSPECIFIED_MODE {
			out.LoadBalancer.Mode = "Standard"
		}
		for _, scope := range balancing.GetRoutingPreference() {
			out.LoadBalancer.RoutingPreferences = append(out.LoadBalancer.RoutingPreferences, title(scope.String()))
		}
	}
	for _, workload := range endpoints {
		endpoint := Endpoint{WorkloadUID: workload.Source.GetUid(), Service: one.Key, Port: map[uint16]uint16{}}
		if len(workload.Addresses) > 0 {
			endpoint.Address = workload.Source.GetNetwork() + "/" + workload.Addresses[0].String()
		}
		for _, port := range workload.Source.GetServices()[one.Key].GetPorts() {
			endpoint.Port[uint16(min(port.GetServicePort(), 65535))] = uint16(min(port.GetTargetPort(), 65535))
		}
		out.Endpoints[endpoint.WorkloadUID] = endpoint
	}
	return out
}

// title writes a value of an enum as ztunnel does: WORKLOAD_SELECTOR is WorkloadSelector.
func title(value string) string {
	out := ""
	for _, word := range strings.Split(strings.ToLower(value), "_") {
		if word != "" {
			out += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return out
}

func gateway(one *workloadapi.GatewayAddress) *Gateway {
	if one == nil {
		return nil
	}
	out := &Gateway{Port: one.GetHboneMtlsPort()}
	if host := one.GetHostname(); host != nil {
		out.Destination = host.GetNamespace() + "/" + host.GetHostname()
	} else if address, ok := netip.AddrFromSlice(one.GetAddress().GetAddress()); ok {
		out.Destination = one.GetAddress().GetNetwork() + "/" + address.String()
	}
	return out
}

func rules(one *policy.Policy) Policy {
	namespace, name, _ := strings.Cut(one.Key, "/")
	out := Policy{Name: name, Namespace: namespace, Scope: "Unknown", Action: "Unknown", Rules: [][][]Match{}, Broken: one.Broken}
	if one.Source == nil {
		return out
	}
	out.Scope, out.Action, out.DryRun = title(one.Source.GetScope().String()), title(one.Source.GetAction().String()), one.Source.GetDryRun()
	for _, group := range one.Source.GetGroups() {
		clauses := [][]Match{}
		for _, rule := range group.GetRules() {
			matches := []Match{}
			for _, m := range rule.GetMatches() {
				matches = append(matches, Match{
					Namespaces: texts(m.GetNamespaces()), NotNamespaces: texts(m.GetNotNamespaces()),
					Principals: texts(m.GetPrincipals()), NotPrincipals: texts(m.GetNotPrincipals()),
					SourceIPs: blocks(m.GetSourceIps()), NotSourceIPs: blocks(m.GetNotSourceIps()),
					DestinationIPs: blocks(m.GetDestinationIps()), NotDestinationIPs: blocks(m.GetNotDestinationIps()),
					DestinationPorts: ports(m.GetDestinationPorts()), NotDestinationPorts: ports(m.GetNotDestinationPorts()),
					ServiceAccounts: accounts(m.GetServiceAccounts()), NotServiceAccounts: accounts(m.GetNotServiceAccounts()),
				})
			}
			clauses = append(clauses, matches)
		}
		out.Rules = append(out.Rules, clauses)
	}
	return out
}

// ports leaves out what is no port: istioctl could not read it, and the policy is shown as broken.
func ports(list []uint32) []uint32 {
	var out []uint32
	for _, one := range list {
		if one <= 65535 {
			out = append(out, one)
		}
	}
	return out
}

func texts(list []*security.StringMatch) []StringMatch {
	var out []StringMatch
	for _, one := range list {
		text := StringMatch{Exact: one.GetExact(), Prefix: one.GetPrefix(), Suffix: one.GetSuffix()}
		if one.GetPresence() != nil {
			text.Presence = &struct{}{}
		}
		out = append(out, text)
	}
	return out
}

func blocks(list []*security.Address) []string {
	var out []string
	for _, one := range list {
		if address, ok := netip.AddrFromSlice(one.GetAddress()); ok {
			out = append(out, address.String()+"/"+strconv.Itoa(int(one.GetLength())))
		}
	}
	return out
}

func accounts(list []*security.ServiceAccountMatch) []Account {
	var out []Account
	for _, one := range list {
		out = append(out, Account{Namespace: one.GetNamespace(), ServiceAccount: one.GetServiceAccount()})
	}
	return out
}

func certs(list []*x509.Certificate) []Cert {
	out := []Cert{}
	for _, one := range list {
		out = append(out, Cert{
			PEM:          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})),
			SerialNumber: one.SerialNumber.String(), ValidFrom: one.NotBefore.UTC().Format(time.RFC3339), ExpirationTime: one.NotAfter.UTC().Format(time.RFC3339),
		})
	}
	return out
}
