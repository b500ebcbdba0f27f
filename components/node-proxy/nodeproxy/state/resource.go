package state

import (
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"istio.io/istio/pkg/workloadapi"

	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// Resource is a resource of a discovery response. Err says that its envelope was wrong already; the data do not count then.
type Resource struct {
	Name string
	Data []byte
	Err  error
}

// entry is a held resource: a workload or a service, or neither when it could never be read.
type entry struct {
	name     string
	workload *Workload
	service  *Service
	// broken says why the last version could not be understood. What an earlier version told is kept, to refuse what concerns it.
	broken string
	// sequence orders entries by their arrival: of two with one address the last wins.
	sequence uint64
}

// Workload is a workload as this program needs it.
type Workload struct {
	Source    *workloadapi.Workload
	Identity  spiffeid.ID
	Addresses []netip.Addr
	Broken    string
	sequence  uint64
}

// Service is a service as this program needs it.
type Service struct {
	Source *workloadapi.Service
	Key    string
	// VIPs are the addresses on this network, as prefixes; most are of one address.
	VIPs   []netip.Prefix
	Broken string
}

// The trust domain and the service account that istiod leaves out.
const (
	defaultTrustDomain    = "cluster.local"
	defaultServiceAccount = "default"
)

func (s *Store) parse(resource Resource, earlier *entry) (*entry, error) {
	s.sequence++
	out := &entry{name: resource.Name, sequence: s.sequence}
	fail := func(err error) (*entry, error) {
		out.broken = err.Error()
		if earlier != nil {
			out.workload, out.service = brokenCopies(earlier, out.broken)
		}
		return out, fmt.Errorf("%s: %w", resource.Name, err)
	}
	if resource.Err != nil {
		return fail(resource.Err)
	}
	message := &workloadapi.Address{}
	if err := proto.Unmarshal(resource.Data, message); err != nil {
		return fail(fmt.Errorf("it cannot be decoded: %w", err))
	}
	unknown := notUnderstood(message.ProtoReflect())
	switch {
	case message.GetWorkload() != nil:
		workload, err := newWorkload(message.GetWorkload())
		if err == nil {
			err = unknown
		}
		if err == nil && message.GetWorkload().GetUid() != resource.Name {
			err = fmt.Errorf("the workload names itself %q", message.GetWorkload().GetUid())
		}
		workload.sequence = s.sequence
		out.workload = workload
		if err != nil {
			workload.Broken, out.broken = err.Error(), err.Error()
			if earlier != nil && earlier.workload != nil {
				workload.Addresses = union(workload.Addresses, earlier.workload.Addresses)
			}
			return out, fmt.Errorf("%s: %w", resource.Name, err)
		}
	case message.GetService() != nil:
		service, err := newService(message.GetService(), s.config.Network)
		if err == nil {
			err = unknown
		}
		if err == nil && service.Key != resource.Name {
			err = fmt.Errorf("the service names itself %q", service.Key)
		}
		out.service = service
		if err != nil {
			service.Broken, out.broken = err.Error(), err.Error()
			if earlier != nil && earlier.service != nil {
				service.VIPs = union(service.VIPs, earlier.service.VIPs)
			}
			return out, fmt.Errorf("%s: %w", resource.Name, err)
		}
	default:
		return fail(fmt.Errorf("it is neither a workload nor a service"))
	}
	return out, nil
}

func brokenCopies(earlier *entry, reason string) (*Workload, *Service) {
	var workload *Workload
	var service *Service
	if earlier.workload != nil {
		held := *earlier.workload
		held.Broken = reason
		workload = &held
	}
	if earlier.service != nil {
		held := *earlier.service
		held.Broken = reason
		service = &held
	}
	return workload, service
}

func union[T comparable](one, other []T) []T {
	out := slices.Clone(one)
	for _, item := range other {
		if !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// newWorkload always returns a workload, with what of it could be read.
func newWorkload(source *workloadapi.Workload) (*Workload, error) {
	out := &Workload{Source: source, Identity: spiffeid.ID{
		TrustDomain: source.GetTrustDomain(), Namespace: source.GetNamespace(), ServiceAccount: source.GetServiceAccount(),
	}}
	if out.Identity.TrustDomain == "" {
		out.Identity.TrustDomain = defaultTrustDomain
	}
	if out.Identity.ServiceAccount == "" {
		out.Identity.ServiceAccount = defaultServiceAccount
	}
	var failure error
	for _, data := range source.GetAddresses() {
		address, ok := netip.AddrFromSlice(data)
		if !ok {
			failure = fmt.Errorf("an address has %d bytes", len(data))
			continue
		}
		out.Addresses = append(out.Addresses, address.Unmap())
	}
	for key, list := range source.GetServices() {
		for _, port := range list.GetPorts() {
			if port.GetServicePort() > 65535 || port.GetTargetPort() > 65535 {
				failure = fmt.Errorf("a port of service %s is above 65535", key)
			}
		}
	}
	return out, failure
}

// newService always returns a service, with what of it could be read.
func newService(source *workloadapi.Service, network string) (*Service, error) {
	out := &Service{Source: source, Key: source.GetNamespace() + "/" + source.GetHostname()}
	var failure error
	for _, vip := range source.GetAddresses() {
		address, ok := netip.AddrFromSlice(vip.GetAddress())
		if !ok {
			failure = fmt.Errorf("an address has %d bytes", len(vip.GetAddress()))
			continue
		}
		mapped := address.Is4In6()
		address = address.Unmap()
		length := address.BitLen()
		if vip.Length != nil {
			given := int(min(vip.GetLength(), 1000))
			if mapped {
				given -= 96
			}
			if given < 0 || given > length {
				failure = fmt.Errorf("an address has the prefix length %d", vip.GetLength())
				continue
			}
			length = given
		}
		if vip.GetNetwork() == network {
			out.VIPs = append(out.VIPs, netip.PrefixFrom(address, length).Masked())
		}
	}
	for _, port := range source.GetPorts() {
		if port.GetServicePort() > 65535 || port.GetTargetPort() > 65535 {
			failure = fmt.Errorf("a port is above 65535")
		}
	}
	return out, failure
}

// notUnderstood returns an error if the tree holds a field or an enum value that this program does not know: it could restrict something.
// The message of an extension is opaque by its nature and is left alone.
func notUnderstood(message protoreflect.Message) error {
	if len(message.GetUnknown()) > 0 {
		return fmt.Errorf("a field of %s is unknown", message.Descriptor().FullName())
	}
	var failure error
	one := func(field protoreflect.FieldDescriptor, value protoreflect.Value) {
		switch field.Kind() {
		case protoreflect.EnumKind:
			if field.Enum().Values().ByNumber(value.Enum()) == nil {
				failure = fmt.Errorf("value %d of %s is unknown", value.Enum(), field.FullName())
			}
		case protoreflect.MessageKind:
			if field.Message().FullName() != "google.protobuf.Any" && failure == nil {
				failure = notUnderstood(value.Message())
			}
		}
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
				one(field.MapValue(), item)
				return failure == nil
			})
		case field.IsList():
			for i := range value.List().Len() {
				one(field, value.List().Get(i))
			}
		default:
			one(field, value)
		}
		return failure == nil
	})
	return failure
}

func (w *Workload) hostNetwork() bool {
	return w.Source.GetNetworkMode() == workloadapi.NetworkMode_HOST_NETWORK
}

func (w *Workload) healthy() bool { return w.Source.GetStatus() == workloadapi.WorkloadStatus_HEALTHY }

// has tells whether the workload has an address of the family.
func (w *Workload) has(isIPv4 bool) bool {
	return slices.ContainsFunc(w.Addresses, func(a netip.Addr) bool { return a.Is4() == isIPv4 })
}

// visible tells whether clients of the namespace may know the service.
func (s *Service) visible(namespace string) bool {
	return s.Source.GetVisibility() == workloadapi.Service_PUBLIC || s.Source.GetNamespace() == namespace
}

// takes tells whether the service has addresses of the family.
func (s *Service) takes(isIPv4 bool) bool {
	switch s.Source.GetIpFamilies() {
	case workloadapi.IPFamilies_IPV4_ONLY:
		return isIPv4
	case workloadapi.IPFamilies_IPV6_ONLY:
		return !isIPv4
	default:
		return true
	}
}

func (s *Service) allHealth() bool {
	return s.Source.GetLoadBalancing().GetHealthPolicy() == workloadapi.LoadBalancing_ALLOW_ALL
}
