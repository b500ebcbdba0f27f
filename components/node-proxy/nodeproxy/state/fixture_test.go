package state

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
)

var config = Config{ClusterID: "Kubernetes", ClusterDomain: "cluster.local", RootNamespace: "istio-system"}

// pod returns the workload of a pod on node n1 in the mesh; edits change it.
func pod(namespace, name, address string, edits ...func(*workloadapi.Workload)) *workloadapi.Workload {
	w := &workloadapi.Workload{
		Uid: "Kubernetes//Pod/" + namespace + "/" + name, Name: name, Namespace: namespace, ServiceAccount: name, Node: "n1",
		TunnelProtocol: workloadapi.TunnelProtocol_HBONE, ClusterId: "Kubernetes", CanonicalName: name, CanonicalRevision: "v1", WorkloadName: name,
	}
	if address != "" {
		w.Addresses = [][]byte{netip.MustParseAddr(address).AsSlice()}
	}
	for _, edit := range edits {
		edit(w)
	}
	return w
}

// of makes the workload an endpoint of a service of the cluster, with pairs of service and target ports.
func of(namespace, service string, ports ...uint32) func(*workloadapi.Workload) {
	return func(w *workloadapi.Workload) {
		if w.Services == nil {
			w.Services = map[string]*workloadapi.PortList{}
		}
		list := &workloadapi.PortList{}
		for i := 0; i+1 < len(ports); i += 2 {
			list.Ports = append(list.Ports, &workloadapi.Port{ServicePort: ports[i], TargetPort: ports[i+1]})
		}
		w.Services[namespace+"/"+host(namespace, service)] = list
	}
}

func host(namespace, service string) string { return service + "." + namespace + ".svc.cluster.local" }

// service returns a service of the cluster with port 80 to 8080; without an address it is headless.
func service(namespace, name, address string, edits ...func(*workloadapi.Service)) *workloadapi.Service {
	s := &workloadapi.Service{
		Name: name, Namespace: namespace, Hostname: host(namespace, name), Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}},
	}
	if address != "" {
		s.Addresses = []*workloadapi.NetworkAddress{{Address: netip.MustParseAddr(address).AsSlice()}}
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func resource(t testing.TB, message proto.Message) Resource {
	t.Helper()
	var name string
	switch m := message.(type) {
	case *workloadapi.Workload:
		name, message = m.Uid, &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: m}}
	case *workloadapi.Service:
		name, message = m.Namespace+"/"+m.Hostname, &workloadapi.Address{Type: &workloadapi.Address_Service{Service: m}}
	case *security.Authorization:
		name = m.Namespace + "/" + m.Name
	}
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return Resource{Name: name, Data: data}
}

func resources(t testing.TB, messages ...proto.Message) []Resource {
	t.Helper()
	var out []Resource
	for _, message := range messages {
		out = append(out, resource(t, message))
	}
	return out
}

// holding returns a store that is ready and holds these workloads and services, and the client pod shop/web on 10.1.0.1.
func holding(t testing.TB, messages ...proto.Message) *Store {
	t.Helper()
	s := New(config)
	if rejected := s.ApplyPolicies(true, nil, nil); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	if rejected := s.ApplyAddresses(true, nil, append(resources(t, pod("shop", "web", "10.1.0.1")), resources(t, messages...)...)); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	return s
}

var web = mesh.Pod{UID: "1", Name: "web", Namespace: "shop", ServiceAccount: "web"}

func to(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

func addresses(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}
