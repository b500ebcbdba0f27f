package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"

	"bookstore.platform/istio/nodeproxy/internal/meshtest"
	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/serving"
)

func values(changes map[string]string) func(string) string {
	all := map[string]string{"XDS_ADDRESS": "istiod:15012", "CA_ADDRESS": "istiod:15012", "POD_NAME": "p", "POD_NAMESPACE": "istio-system",
		"SERVICE_ACCOUNT": "ztunnel", "NODE_NAME": "n", "INSTANCE_IP": "10.0.0.1"}
	for name, value := range changes {
		all[name] = value
	}
	return func(name string) string { return all[name] }
}

func TestEnvironment(t *testing.T) {
	c, err := environment(values(map[string]string{"TERMINATION_GRACE_PERIOD_SECONDS": "10", "RUST_LOG": "hyper=debug,warn"}))
	if err != nil || c.grace != 9*time.Second || c.level != slog.LevelWarn || c.cluster != "Kubernetes" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, value := range map[string]string{"XDS_ADDRESS": "", "NODE_NAME": "", "TERMINATION_GRACE_PERIOD_SECONDS": "soon", "RUST_LOG": "loud"} {
		if _, err := environment(values(map[string]string{name: value})); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
}

// exchange sends a message to the proxy and expects that it is acknowledged.
func exchange(t *testing.T, connection *net.UnixConn, request *zdsapi.WorkloadRequest, fds ...int) {
	t.Helper()
	data, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := connection.WriteMsgUnix(data, unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1024)
	n, err := connection.Read(buffer)
	response := &zdsapi.WorkloadResponse{}
	if err != nil || proto.Unmarshal(buffer[:n], response) != nil || response.GetAck() == nil || response.GetAck().GetError() != "" {
		t.Fatal(response, err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// The whole program with an istio-cni and a control plane of the test: not ready before both have spoken, then traffic, numbers of it,
// and an end that waits for what is open.
// One pod that fills all of its bounds leaves half of the descriptors.
func TestOnePodLeavesDescriptors(t *testing.T) {
	for _, descriptors := range []uint64{1024, 65536, 1 << 20} {
		limits := bounded(serving.DefaultLimits, descriptors)
		used := 2*2*limits.Connections + limits.Tunnels + 2*limits.Names
		if limits.Connections < 1 || limits.Tunnels < 1 || limits.Names < 1 || uint64(used) > descriptors/2 {
			t.Errorf("%d descriptors: %+v takes %d", descriptors, limits, used)
		}
	}
	if bounded(serving.DefaultLimits, 0) != serving.DefaultLimits {
		t.Error("an unknown number of descriptors is a bound")
	}
}

func TestLifeOfTheProxy(t *testing.T) {
	network := nettest.New(t)
	pod := network.Pod(nettest.Options{})
	folder := t.TempDir()
	resolvConf := filepath.Join(folder, "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(folder, "s")
	cni, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer cni.Close()
	c, err := environment(values(map[string]string{"ZDS_SOCKET": socket, "RESOLV_CONF": resolvConf}))
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for range 3 {
		free, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, free.Addr().String())
		_ = free.Close()
	}
	c.readinessAt, c.metricsAt, c.localAt = addresses[0], addresses[1], addresses[2]
	control, identities := meshtest.NewControl(), meshtest.NewIdentities(t)
	p := &plane{control: control, identities: identities, run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	go func() { ended <- run(ctx, c, p, log, &slog.LevelVar{}) }()

	_ = cni.SetDeadline(time.Now().Add(nettest.Wait))
	connection, err := cni.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(nettest.Wait))
	if _, err := connection.Read(make([]byte, 100)); err != nil { // hello
		t.Fatal(err)
	}
	ready := "http://" + c.readinessAt + "/healthz/ready"
	nettest.Until(t, "readiness is answered", func() bool { status, _ := get(t, ready); return status == http.StatusServiceUnavailable })
	fd, err := pod.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	exchange(t, connection, &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Add{Add: &zdsapi.AddWorkload{Uid: "u",
		WorkloadInfo: &zdsapi.WorkloadInfo{Name: "web", Namespace: "shop", ServiceAccount: "web"}}}}, fd)
	exchange(t, connection, &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_SnapshotSent{SnapshotSent: &zdsapi.SnapshotSent{}}})
	if status, body := get(t, ready); status != http.StatusServiceUnavailable || !strings.Contains(body, "configuration") {
		t.Errorf("ready without configuration: %d %s", status, body)
	}
	control.Set(func(s *meshtest.State) {
		s.Ready = true
		s.Outbound = func(mesh.Pod, netip.AddrPort) mesh.Route { return mesh.Route{Action: mesh.PassThrough} }
	})
	nettest.Until(t, "ready", func() bool { status, _ := get(t, ready); return status == http.StatusOK })
	nettest.Until(t, "the identity is kept", func() bool {
		return slices.Equal(identities.Kept(), []string{"spiffe://cluster.local/ns/shop/sa/web"})
	})

	world := netip.AddrPortFrom(pod.Gateway, 9000).String()
	listener := nettest.Listen(t, network.Router, world)
	client, err := nettest.Dial(t, pod.Namespace, "tcp", world)
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.SetDeadline(time.Now().Add(nettest.Wait))
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cancel()
	for _, ends := range [][2]net.Conn{{client, server}, {server, client}} { // still open while the proxy drains
		fmt.Fprintln(ends[0], "hello")
		if line, err := bufio.NewReader(ends[1]).ReadString('\n'); err != nil || line != "hello\n" {
			t.Fatal(line, err)
		}
	}
	_, body := get(t, "http://"+c.metricsAt+"/metrics")
	if !strings.Contains(body, `istio_tcp_connections_opened_total{`) || !strings.Contains(body, `reporter="source"`) {
		t.Error("no metrics of the connection")
	}
	if status, _ := get(t, "http://"+c.localAt+"/config_dump"); status != http.StatusNotImplemented {
		t.Errorf("a dump without a control plane: %d", status)
	}
	_ = client.Close()
	_ = server.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(nettest.Wait):
		t.Error("the proxy does not end with its last connection")
	}
}
