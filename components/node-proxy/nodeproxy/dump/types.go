// Package dump writes the configuration dump that istioctl ztunnel-config reads.
//
// The types are written here and not taken from istioctl: its package brings a logging library, flags and YAML into the program, 31 packages
// in all. The test reads the dump with istioctl's own types and printer, so a drift of the format is noticed.
package dump

// Dump is the whole answer of /config_dump.
type Dump struct {
	Workloads     []Workload               `json:"workloads"`
	Services      []Service                `json:"services"`
	Policies      []Policy                 `json:"policies"`
	Certificates  []Certificate            `json:"certificates"`
	WorkloadState map[string]WorkloadState `json:"workloadState"`
	// Unreadable names resources of istiod of which nothing could be read; istioctl does not show it.
	Unreadable map[string]string `json:"unreadable,omitempty"`
}

// Workload is a workload. Broken is ours: why it refuses; istioctl does not show it.
type Workload struct {
	UID                   string             `json:"uid"`
	WorkloadIPs           []string           `json:"workloadIps"`
	Waypoint              *Gateway           `json:"waypoint,omitempty"`
	NetworkGateway        *Gateway           `json:"networkGateway,omitempty"`
	Protocol              string             `json:"protocol"`
	Name                  string             `json:"name"`
	Namespace             string             `json:"namespace"`
	ServiceAccount        string             `json:"serviceAccount"`
	WorkloadName          string             `json:"workloadName"`
	WorkloadType          string             `json:"workloadType"`
	CanonicalName         string             `json:"canonicalName"`
	CanonicalRevision     string             `json:"canonicalRevision"`
	ClusterID             string             `json:"clusterId"`
	TrustDomain           string             `json:"trustDomain"`
	Locality              Locality           `json:"locality"`
	Node                  string             `json:"node"`
	Network               string             `json:"network,omitempty"`
	Status                string             `json:"status"`
	Hostname              string             `json:"hostname"`
	Capacity              uint32             `json:"capacity"`
	ApplicationTunnel     *ApplicationTunnel `json:"applicationTunnel,omitempty"`
	AuthorizationPolicies []string           `json:"authorizationPolicies,omitempty"`
	Broken                string             `json:"broken,omitempty"`
}

// Locality is where a workload runs.
type Locality struct {
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Subzone string `json:"subzone,omitempty"`
}

// ApplicationTunnel is what a workload asks its node's proxy to say to it.
type ApplicationTunnel struct {
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port,omitempty"`
}

// Gateway is a waypoint or a network gateway: namespace/hostname or network/address.
type Gateway struct {
	Destination string `json:"destination"`
	Port        uint32 `json:"port,omitempty"`
}

// Service is a service with its endpoints.
type Service struct {
	Name            string              `json:"name"`
	Namespace       string              `json:"namespace"`
	Hostname        string              `json:"hostname"`
	VIPs            []string            `json:"vips"`
	CIDRVIPs        []string            `json:"cidrVips,omitempty"`
	Ports           map[string]uint32   `json:"ports"`
	LoadBalancer    *LoadBalancer       `json:"loadBalancer,omitempty"`
	Waypoint        *Gateway            `json:"waypoint,omitempty"`
	Endpoints       map[string]Endpoint `json:"endpoints"`
	SubjectAltNames []string            `json:"subjectAltNames,omitempty"`
	IPFamilies      string              `json:"ipFamilies"`
	Canonical       bool                `json:"canonical,omitempty"`
	Visibility      string              `json:"visibility,omitempty"`
	Broken          string              `json:"broken,omitempty"`
}

// LoadBalancer is how endpoints are chosen.
type LoadBalancer struct {
	Mode               string   `json:"mode"`
	RoutingPreferences []string `json:"routingPreferences"`
	HealthPolicy       string   `json:"healthPolicy"`
}

// Endpoint is a workload of a service.
type Endpoint struct {
	WorkloadUID string            `json:"workloadUid"`
	Service     string            `json:"service"`
	Address     string            `json:"address,omitempty"`
	Port        map[uint16]uint16 `json:"port"`
}

// Policy is an authorization policy: groups of rules of matches.
type Policy struct {
	Name      string      `json:"name"`
	Namespace string      `json:"namespace"`
	Scope     string      `json:"scope"`
	Action    string      `json:"action"`
	DryRun    bool        `json:"dryRun,omitempty"`
	Rules     [][][]Match `json:"rules"`
	Broken    string      `json:"broken,omitempty"`
}

// Match is a match of a policy.
type Match struct {
	Namespaces          []StringMatch `json:"namespaces,omitempty"`
	NotNamespaces       []StringMatch `json:"notNamespaces,omitempty"`
	Principals          []StringMatch `json:"principals,omitempty"`
	NotPrincipals       []StringMatch `json:"notPrincipals,omitempty"`
	SourceIPs           []string      `json:"sourceIps,omitempty"`
	NotSourceIPs        []string      `json:"notSourceIps,omitempty"`
	DestinationIPs      []string      `json:"destinationIps,omitempty"`
	NotDestinationIPs   []string      `json:"notDestinationIps,omitempty"`
	DestinationPorts    []uint32      `json:"destinationPorts,omitempty"`
	NotDestinationPorts []uint32      `json:"notDestinationPorts,omitempty"`
	ServiceAccounts     []Account     `json:"serviceAccounts,omitempty"`
	NotServiceAccounts  []Account     `json:"notServiceAccounts,omitempty"`
}

// StringMatch is one of its four kinds.
type StringMatch struct {
	Exact    string    `json:"Exact,omitempty"`
	Suffix   string    `json:"Suffix,omitempty"`
	Prefix   string    `json:"Prefix,omitempty"`
	Presence *struct{} `json:"Presence,omitempty"`
}

// Account is a service account of a match.
type Account struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

// Certificate is the state of an identity.
type Certificate struct {
	Identity  string `json:"identity"`
	State     string `json:"state"`
	CertChain []Cert `json:"certChain"`
	RootCerts []Cert `json:"rootCerts"`
}

// Cert is an X.509 certificate.
type Cert struct {
	PEM            string `json:"pem"`
	SerialNumber   string `json:"serialNumber"`
	ValidFrom      string `json:"validFrom"`
	ExpirationTime string `json:"expirationTime"`
}

// WorkloadState is a pod that the proxy serves, by its uid. The data plane fills it.
type WorkloadState struct {
	State       string      `json:"state,omitempty"`
	Connections Connections `json:"connections"`
	Info        Info        `json:"info"`
}

// Connections are the open connections of a pod.
type Connections struct {
	Inbound  []Connection `json:"inbound"`
	Outbound []Connection `json:"outbound"`
}

// Connection is an open connection; the protocol is HBONE or TCP.
type Connection struct {
	Src         string `json:"src"`
	OriginalDst string `json:"originalDst"`
	ActualDst   string `json:"actualDst"`
	Protocol    string `json:"protocol"`
}

// Info names a pod.
type Info struct {
	Name           string `json:"name"`
	Namespace      string `json:"namespace"`
	TrustDomain    string `json:"trustDomain"`
	ServiceAccount string `json:"serviceAccount"`
}
