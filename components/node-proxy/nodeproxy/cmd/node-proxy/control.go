package main

import (
	"context"
	"log/slog"
	"sync"

	"bookstore.platform/istio/nodeproxy/cni"
	"bookstore.platform/istio/nodeproxy/discovery"
	"bookstore.platform/istio/nodeproxy/dump"
	"bookstore.platform/istio/nodeproxy/identity"
	"bookstore.platform/istio/nodeproxy/istiod"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/state"
)

// Files that the ztunnel chart mounts.
const (
	tokenFile = "/var/run/secrets/tokens/istio-token"
	rootFile  = "/var/run/secrets/istio/root-cert.pem"
)

// plane is the control plane, as the data plane uses it.
type plane struct {
	control    mesh.Control
	identities mesh.Identities
	// run works until the context ends; it returns an error only when going on makes no sense.
	run func(ctx context.Context) error
	// dump makes what /config_dump shows as JSON; nil: there is nothing to show.
	dump func(pods map[string]cni.Served) any
}

// controlPlane joins discovery, policies and certificates. It calls nobody before run.
func controlPlane(c config, log *slog.Logger) (*plane, error) {
	store := state.New(state.Config{ClusterID: c.cluster, Network: c.network, ClusterDomain: c.domain, RootNamespace: c.namespace})
	at := func(address string) istiod.Config {
		return istiod.Config{Address: address, TokenFile: c.tokenFile, RootFile: c.rootFile, ClusterID: c.cluster}
	}
	stream := &discovery.Client{Istiod: at(c.discovery), Sink: store, Log: log, Node: discovery.Node{
		IP: c.ownIP, PodName: c.pod, Namespace: c.namespace, ServiceAccount: c.account, NodeName: c.node, ClusterID: c.cluster,
		Network: c.network, ClusterDomain: c.domain, IstioVersion: c.version,
	}}
	certificates := identity.New(identity.Config{Istiod: at(c.authority), Log: log})
	return &plane{
		control: store, identities: certificates,
		run: func(ctx context.Context) error {
			var group sync.WaitGroup
			group.Go(func() { stream.Run(ctx) })
			group.Go(func() { certificates.Run(ctx) })
			group.Wait()
			return nil
		},
		dump: func(pods map[string]cni.Served) any {
			held, roots := certificates.Held()
			served := map[string]dump.WorkloadState{}
			for uid, pod := range pods {
				shown := dump.WorkloadState{State: "Pending", Info: dump.Info{Name: pod.Pod.Name, Namespace: pod.Pod.Namespace,
					ServiceAccount: pod.Pod.ServiceAccount}}
				if pod.Running {
					shown.State = "Up"
				}
				served[uid] = shown
			}
			return dump.New(store.Contents(), held, roots, served)
		},
	}, nil
}
