package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"bookstore.platform/istio/nodeproxy/admin"
	"bookstore.platform/istio/nodeproxy/cni"
	"bookstore.platform/istio/nodeproxy/inbound"
	"bookstore.platform/istio/nodeproxy/pods"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/telemetry"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

// bounded lowers the limits of each pod so that one pod alone leaves half of the process's descriptors to the others: a connection has
// two ends, those that come in and those that go out count apart, and half as much again is for the pipes of what flows.
func bounded(limits serving.Limits, descriptors uint64) serving.Limits {
	if descriptors > 0 {
		limits.Connections = min(limits.Connections, int(descriptors/16))
		limits.Tunnels = min(limits.Tunnels, int(descriptors/32))
		limits.Names = min(limits.Names, int(descriptors/128))
	}
	return limits
}

// run serves until the context ends, and then drains. Nothing waits for anything else at the start: istiod's own pod, or that of
// the cluster's names, may be waiting for the proxy.
func run(ctx context.Context, c config, p *plane, log *slog.Logger, level *slog.LevelVar) error {
	stopping, quit := context.WithCancel(ctx)
	defer quit()
	resolv, err := os.ReadFile(c.resolvConf)
	if err != nil {
		return err
	}
	resolver, err := pods.Resolver(string(resolv))
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	factory := &pods.Factory{Control: p.control, Identities: p.identities, Registry: inbound.NewRegistry(p.control), Pool: tunnel.NewPool(),
		Reporter: telemetry.New(registry), Limits: bounded(serving.DefaultLimits, c.fileDescriptors), Resolver: resolver, Log: log}
	keeper := pods.NewKeeper(p.control, p.identities)
	manager := cni.NewManager(factory.Start, keeper.Pods, log)
	pending := func() []string {
		waiting := manager.Pending()
		if !p.control.Ready() {
			waiting = append(waiting, "the configuration of the mesh")
		}
		return waiting
	}
	local := &admin.Local{Level: level, Quit: quit}
	if p.dump != nil {
		local.Dump = func() any { return p.dump(manager.Pods()) }
	}
	servers := []struct {
		address string
		handler http.Handler
	}{{c.readinessAt, admin.Readiness(pending)}, {c.metricsAt, admin.Metrics(registry)}, {c.localAt, local.Handler()}}
	var listeners []net.Listener
	for _, server := range servers {
		listener, err := net.Listen("tcp", server.address)
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close() }() // closed before by its server
		// Any pod of the cluster reaches two of them, and the kubelet must get through.
		refused := func(source netip.AddrPort, why error) { log.Debug("operators' port", "source", source, "error", why) }
		listeners = append(listeners, serving.Bound(listener, serving.NewSlots(256, 32), refused))
	}

	// working outlives the drain: open connections need policies and certificates until they end.
	working, end := context.WithCancel(context.Background())
	defer end()
	failed := make(chan error, len(servers)+1)
	var group sync.WaitGroup
	for i, server := range servers {
		group.Go(func() {
			if err := admin.Serve(working, listeners[i], server.handler); err != nil {
				failed <- fmt.Errorf("%s: %w", server.address, err)
			}
		})
	}
	group.Go(func() { factory.Registry.Run(working) })
	group.Go(func() { factory.Watch(working) })
	group.Go(func() { factory.Reporter.Run(working, log) })
	group.Go(func() { keeper.Run(working) })
	group.Go(func() {
		if err := p.run(working); err != nil && working.Err() == nil {
			failed <- err
		}
	})
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		// Ends when the drain begins: then istio-cni talks to the successor only.
		(&cni.Client{Path: c.socket, Receiver: manager, Log: log}).Run(stopping)
	}()

	var result error
	select {
	case <-stopping.Done():
		log.Info("draining", "grace", c.grace)
	case result = <-failed:
		quit()
	}
	<-announced
	grace, cancel := context.WithTimeout(context.Background(), c.grace)
	manager.Drain(grace)
	cancel()
	factory.Pool.Close()
	end()
	group.Wait()
	if errors.Is(result, context.Canceled) {
		return nil
	}
	return result
}
