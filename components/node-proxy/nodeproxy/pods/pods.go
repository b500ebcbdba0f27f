// Package pods makes, for each pod, the listeners that istio-cni's rules redirect to, and joins them with what serves them.
package pods

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"bookstore.platform/istio/nodeproxy/cni"
	"bookstore.platform/istio/nodeproxy/dns"
	"bookstore.platform/istio/nodeproxy/inbound"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/outbound"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

// Factory makes the proxies of pods.
type Factory struct {
	Control    mesh.Control
	Identities mesh.Identities
	Registry   *inbound.Registry
	Pool       *tunnel.Pool
	Reporter   *telemetry.Reporter
	Limits     serving.Limits
	// Resolver is asked when it is not known whom a pod has asked.
	Resolver netip.AddrPort
	Log      *slog.Logger
}

type instance struct {
	factory *Factory
	pod     *serving.Pod
	plain   []*net.TCPListener
	tunnels []*net.TCPListener
	server  *tunnel.Server
	names   *dns.Server
	once    sync.Once
}

// Start opens all listeners of a pod, asks nobody, and returns.
func (f *Factory) Start(pod mesh.Pod, namespace *sockets.Namespace) (cni.Instance, error) {
	i := &instance{factory: f, pod: &serving.Pod{Pod: pod, Namespace: namespace, Control: f.Control, Identities: f.Identities,
		Reporter: f.Reporter, Log: f.Log, Limits: f.Limits}}
	i.pod.Begin()
	in := &inbound.Proxy{Pod: i.pod, Registry: f.Registry}
	out := &outbound.Proxy{Pod: i.pod, Pool: f.Pool}
	i.server = &tunnel.Server{Config: i.config, Connect: in.Connect, Log: f.Log, Refused: i.refused}
	i.names = dns.New(i.pod, f.Resolver)
	for _, family := range []struct{ any, loopback netip.Addr }{
		{netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, {netip.IPv6Unspecified(), netip.IPv6Loopback()},
	} {
		err := i.open(family.any, family.loopback, in, out)
		if err != nil && family.any.Is6() && sockets.NoIPv6(err) {
			f.Log.Info("the pod has no IPv6", "pod", pod.Namespace+"/"+pod.Name)
			continue
		}
		if err != nil {
			i.close()
			return nil, err
		}
	}
	for _, listener := range i.tunnels {
		i.pod.Go(func() {
			if err := i.server.Serve(serving.Bound(listener, i.pod.Tunnels, i.refused)); err != nil && !errors.Is(err, net.ErrClosed) {
				f.Log.Error("tunnels are no longer accepted", "pod", pod.Namespace+"/"+pod.Name, "error", err)
			}
		})
	}
	i.names.Serve()
	return i, nil
}

// open opens the listeners of one family: all or none.
func (i *instance) open(any, loopback netip.Addr, in *inbound.Proxy, out *outbound.Proxy) (err error) {
	var opened []*net.TCPListener
	defer func() {
		if err != nil {
			for _, listener := range opened {
				err = errors.Join(err, listener.Close())
			}
		}
	}()
	for _, port := range []uint16{sockets.OutboundPort, sockets.PlaintextPort, sockets.TunnelPort} {
		listener, err := i.pod.Namespace.Listen(netip.AddrPortFrom(any, port))
		if err != nil {
			return err
		}
		opened = append(opened, listener)
	}
	if err := i.names.Listen(loopback); err != nil {
		return err
	}
	i.plain = append(i.plain, opened[:2]...)
	i.tunnels = append(i.tunnels, opened[2])
	i.pod.Go(func() { i.pod.Accept(opened[0], i.pod.Outgoing, out.Handle) })
	i.pod.Go(func() { i.pod.Accept(opened[1], i.pod.Incoming, in.Plaintext) })
	return nil
}

// config returns the TLS settings for tunnels to the pod.
func (i *instance) config(ctx context.Context) (*tls.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, i.pod.Limits.Connect)
	defer cancel()
	identity, err := i.pod.Await(ctx)
	if err != nil {
		return nil, err
	}
	return i.pod.Identities.ServerConfig(ctx, identity)
}

// refused reports a connection that asked for no tunnel yet and is refused.
func (i *instance) refused(source netip.AddrPort, why error) { i.pod.Refuse(false, source, why) }

func (i *instance) closeListeners() {
	for _, listener := range slices.Concat(i.plain, i.tunnels) {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			i.pod.Log.Error("closing a listener", "error", err)
		}
	}
	i.names.Close()
}

func (i *instance) close() {
	i.once.Do(func() {
		i.closeListeners()
		if err := i.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			i.pod.Log.Error("closing tunnels", "error", err)
		}
		i.factory.Pool.ClosePod(i.pod.Key)
		i.pod.Stop(serving.ErrDeleted)
		i.factory.Pool.ClosePod(i.pod.Key) // what a connection that was just being made has left
		if err := i.pod.Namespace.Close(); err != nil {
			i.pod.Log.Error("closing a network namespace", "error", err)
		}
	})
}

// Stop ends everything at once. It does not wait for goroutines: istio-cni waits for the answer.
func (i *instance) Stop() {
	i.pod.Cancel(serving.ErrDeleted)
	i.closeListeners()
	go i.close()
}

// Drain stops accepting and waits for open connections until the context ends.
func (i *instance) Drain(ctx context.Context) {
	for _, listener := range i.plain {
		if err := serving.CloseSoon(listener); err != nil && !errors.Is(err, net.ErrClosed) {
			i.pod.Log.Error("closing a listener", "error", err)
		}
	}
	i.names.Close()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if err := i.server.Drain(ctx); err != nil && ctx.Err() == nil {
			i.pod.Log.Error("draining tunnels", "error", err)
		}
	}()
	i.pod.Drain(ctx, drained)
	i.close()
}

// Watch keeps what depends on the state of the mesh in step with it, until the context ends: pooled tunnels to peers that are gone.
func (f *Factory) Watch(ctx context.Context) {
	for {
		changed := f.Control.Changed()
		f.Pool.Retire(func(key tunnel.Key) bool { return len(f.Control.Describe(key.Gateway.Addr())) == 0 })
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Resolver reads the first nameserver of a resolv.conf.
func Resolver(text string) (netip.AddrPort, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "nameserver" {
			if address, err := netip.ParseAddr(fields[1]); err == nil {
				return netip.AddrPortFrom(address.WithZone(""), 53), nil
			}
		}
	}
	return netip.AddrPort{}, fmt.Errorf("resolv.conf names no nameserver")
}

// Keeper announces the identities of pods, and again while discovery does not know all of them.
type Keeper struct {
	Control    mesh.Control
	Identities mesh.Identities
	mutex      sync.Mutex
	pods       []mesh.Pod
	wake       chan struct{}
}

// NewKeeper makes a keeper; Run keeps it working.
func NewKeeper(control mesh.Control, identities mesh.Identities) *Keeper {
	return &Keeper{Control: control, Identities: identities, wake: make(chan struct{}, 1)}
}

// Pods takes over the present pods.
func (k *Keeper) Pods(pods []mesh.Pod) {
	k.mutex.Lock()
	k.pods = pods
	k.mutex.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run announces after each change until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	const settle = 50 * time.Millisecond
	for {
		changed := k.Control.Changed()
		k.mutex.Lock()
		pods := k.pods
		k.mutex.Unlock()
		seen, identities := map[string]bool{}, []string{}
		for _, pod := range pods {
			if identity, err := k.Control.Identity(pod); err == nil && !seen[identity] {
				seen[identity] = true
				identities = append(identities, identity)
			}
		}
		k.Identities.Keep(identities)
		select {
		case <-changed:
		case <-k.wake:
		case <-ctx.Done():
			return
		}
		select { // many changes come together
		case <-time.After(settle):
		case <-ctx.Done():
			return
		}
	}
}
