//go:build istiod

package proof

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/multicluster"
	istiosecurity "istio.io/istio/pkg/security"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/util/sets"
	"istio.io/istio/security/pkg/pki/ca"
	caserver "istio.io/istio/security/pkg/server/ca"

	"bookstore.platform/istio/nodeproxy/identity"
	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
)

// istiod's own CA signs for the workloads of the proxy's node, and for no others.
func TestAgainstIstiodsCA(t *testing.T) {
	test.SetForTest(t, &features.CATrustedNodeAccounts, sets.New(types.NamespacedName{Namespace: "istio-system", Name: "ztunnel"}))
	proxy := pod("proxy-1", "10.0.0.1", true)
	proxy.ObjectMeta = metav1.ObjectMeta{Name: "proxy-1", Namespace: "istio-system", UID: "uid-1"}
	proxy.Spec.ServiceAccountName = "ztunnel"
	elsewhere := pod("elsewhere", "10.1.0.9", true)
	elsewhere.Spec.NodeName = "n2"
	client := kube.NewFakeClient(proxy, pod("client", "10.1.0.1", true), pod("server", "10.1.0.2", true), elsewhere)
	clusters := multicluster.NewFakeController()
	options, err := ca.NewSelfSignedDebugIstioCAOptions("", 24*time.Hour, time.Hour, 24*time.Hour, "cluster.local", 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.NewIstioCA(options)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := caserver.New(authority, time.Hour, []istiosecurity.Authenticator{nodeAccount{}}, clusters)
	if err != nil {
		t.Fatal(err)
	}
	stop := test.NewStop(t)
	clusters.Add(constants.DefaultClusterName, client, stop)
	client.RunAndWait(stop)

	front := istiodtest.StartFor(t, nil, signer)
	// The mounted file holds the root of istiod's own certificate and, as in a cluster, that of the workloads.
	file, err := os.OpenFile(front.Config().RootFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(authority.GetCAKeyCertBundle().GetRootCertPem()); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	certificates := identity.New(identity.Config{Istiod: front.Config(), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	done := make(chan struct{})
	go func() { certificates.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })

	const from, to = "spiffe://cluster.local/ns/default/sa/client", "spiffe://cluster.local/ns/default/sa/server"
	serving, err := certificates.ServerConfig(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	calling, err := certificates.ClientConfig(ctx, from, []string{to})
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	server, caller := tls.Server(a, serving), tls.Client(b, calling)
	go func() {
		if err := server.HandshakeContext(ctx); err == nil {
			_, _ = server.Write([]byte("x"))
		}
		_ = a.Close()
	}()
	if _, err := io.ReadFull(caller, make([]byte, 1)); err != nil {
		t.Fatalf("the tunnel's handshake: %v", err)
	}
	if peer, err := certificates.PeerIdentity(server.ConnectionState()); err != nil || "spiffe://"+peer != from {
		t.Errorf("the caller is %q, %v", peer, err)
	}
	_ = b.Close()

	short, end := context.WithTimeout(ctx, time.Second)
	defer end()
	if _, err := certificates.ServerConfig(short, "spiffe://cluster.local/ns/default/sa/elsewhere"); err == nil ||
		!strings.Contains(err.Error(), "impersonation authentication failure") {
		t.Errorf("a workload of another node: %v", err)
	}
}
