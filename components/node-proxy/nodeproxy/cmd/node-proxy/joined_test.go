package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
	"istio.io/istio/pkg/zdsapi"

	"bookstore.platform/istio/nodeproxy/discovery"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
)

func encoded(t *testing.T, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func workload(name string, address netip.Addr, policies ...string) *workloadapi.Address {
	return &workloadapi.Address{Type: &workloadapi.Address_Workload{Workload: &workloadapi.Workload{
		Uid: "Kubernetes//Pod/shop/" + name, Name: name, Namespace: "shop", ServiceAccount: name, Node: "n", ClusterId: "Kubernetes",
		TunnelProtocol: workloadapi.TunnelProtocol_HBONE, Addresses: [][]byte{address.AsSlice()}, CanonicalName: name, WorkloadName: name,
		AuthorizationPolicies: policies,
		Services: map[string]*workloadapi.PortList{"shop/" + name + ".shop.svc.cluster.local": {
			Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}}}},
	}}}
}

// The data plane and the control plane together, under STRICT: an istiod and an istio-cni of the test, two pods with the literal rules.
func TestJoined(t *testing.T) {
	network := nettest.New(t)
	client, server := network.Pod(nettest.Options{}), network.Pod(nettest.Options{})
	istiod := istiodtest.Start(t)
	folder := t.TempDir()
	resolvConf, socket := filepath.Join(folder, "resolv.conf"), filepath.Join(folder, "s")
	if err := os.WriteFile(resolvConf, []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cni, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer cni.Close()
	c, err := environment(values(map[string]string{"ZDS_SOCKET": socket, "RESOLV_CONF": resolvConf, "XDS_ADDRESS": istiod.Config().Address,
		"CA_ADDRESS": istiod.Config().Address, "ISTIO_TOKEN_FILE": istiod.Config().TokenFile, "ISTIO_ROOT_FILE": istiod.Config().RootFile, "POD_NAME": "proxy-1"}))
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.readinessAt, c.metricsAt, c.localAt = "127.0.0.1:0", "127.0.0.1:0", free.Addr().String()
	_ = free.Close()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := controlPlane(c, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, c, p, log, &slog.LevelVar{}) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	_ = cni.SetDeadline(time.Now().Add(nettest.Wait))
	connection, err := cni.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(nettest.Wait))
	if _, err := connection.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for name, pod := range map[string]*nettest.Pod{"client": client, "server": server} {
		fd, err := pod.Duplicate()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		exchange(t, connection, &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Add{Add: &zdsapi.AddWorkload{Uid: name,
			WorkloadInfo: &zdsapi.WorkloadInfo{Name: name, Namespace: "shop", ServiceAccount: name}}}}, fd)
	}
	exchange(t, connection, &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_SnapshotSent{SnapshotSent: &zdsapi.SnapshotSent{}}})

	application := nettest.Listen(t, server.Namespace, netip.AddrPortFrom(server.V4, 8080).String())
	go func() {
		for {
			one, err := application.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer one.Close()
				_, _ = io.WriteString(one, one.RemoteAddr().(*net.TCPAddr).IP.String()+"\n")
				_, _ = io.Copy(one, one)
			}()
		}
	}()
	// STRICT, as istiod converts it, and an ALLOW for the client.
	strict := &security.Authorization{Name: "strict", Namespace: "shop", Scope: security.Scope_WORKLOAD_SELECTOR, Action: security.Action_DENY,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{
			NotPrincipals: []*security.StringMatch{{MatchType: &security.StringMatch_Presence{}}}}}}}}}}
	allow := &security.Authorization{Name: "allow", Namespace: "shop", Scope: security.Scope_WORKLOAD_SELECTOR, Action: security.Action_ALLOW,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{Principals: []*security.StringMatch{
			{MatchType: &security.StringMatch_Exact{Exact: "cluster.local/ns/shop/sa/client"}}}}}}}}}}
	istiod.Push(discovery.AuthorizationType, map[string][]byte{"shop/strict": encoded(t, strict), "shop/allow": encoded(t, allow)})
	vip := netip.MustParseAddr("10.96.0.10")
	istiod.Push(discovery.AddressType, map[string][]byte{
		"Kubernetes//Pod/shop/client": encoded(t, workload("client", client.V4)),
		"Kubernetes//Pod/shop/server": encoded(t, workload("server", server.V4, "shop/strict", "shop/allow")),
		"shop/server.shop.svc.cluster.local": encoded(t, &workloadapi.Address{Type: &workloadapi.Address_Service{Service: &workloadapi.Service{
			Name: "server", Namespace: "shop", Hostname: "server.shop.svc.cluster.local",
			Addresses: []*workloadapi.NetworkAddress{{Address: vip.AsSlice()}}, Ports: []*workloadapi.Port{{ServicePort: 80, TargetPort: 8080}}}}}),
	})
	read := func(from *nettest.Pod, address string) (net.Conn, string, error) {
		namespace := network.Router
		if from != nil {
			namespace = from.Namespace
		}
		one, err := nettest.Dial(t, namespace, "tcp", address)
		if err != nil {
			return nil, "", err // a reset may come before the connect is seen
		}
		line := make([]byte, len(client.V4.String())+1)
		n, err := io.ReadFull(one, line)
		return one, strings.TrimSpace(string(line[:n])), err
	}
	var open net.Conn
	for _, address := range []string{netip.AddrPortFrom(server.V4, 8080).String(), netip.AddrPortFrom(vip, 80).String()} {
		one, seen, err := read(client, address)
		if err != nil || seen != client.V4.String() {
			t.Fatalf("%s: %q, %v", address, seen, err)
		}
		open = one
	}
	if _, seen, err := read(nil, netip.AddrPortFrom(server.V4, 8080).String()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("plaintext under STRICT: %q, %v", seen, err)
	}
	if signed, _ := istiod.Signed(); signed["spiffe://cluster.local/ns/shop/sa/client"] != 1 || signed["spiffe://cluster.local/ns/shop/sa/server"] != 1 {
		t.Errorf("certificates: %v", signed)
	}
	if status, body := get(t, "http://"+c.localAt+"/config_dump"); status != http.StatusOK || !strings.Contains(body, `"strict"`) {
		t.Errorf("dump: %d", status)
	}
	// The permission goes while the stream is cut: the open connection ends.
	istiod.Cut()
	other := proto.Clone(allow).(*security.Authorization)
	other.Groups[0].Rules[0].Matches[0].Principals[0].MatchType = &security.StringMatch_Exact{Exact: "cluster.local/ns/shop/sa/nobody"}
	istiod.Push(discovery.AuthorizationType, map[string][]byte{"shop/allow": encoded(t, other)})
	if _, err := io.ReadAll(open); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection that is refused now: %v", err)
	}
	if _, seen, err := read(client, netip.AddrPortFrom(vip, 80).String()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused by policy: %q, %v", seen, err)
	}
	if faults := istiod.Faults(); len(faults) > 0 {
		t.Error(faults)
	}
}
