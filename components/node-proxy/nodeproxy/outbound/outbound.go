// Package outbound takes the connections of a pod's applications to where the mesh sends them.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"time"

	"bookstore.platform/istio/nodeproxy/copying"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

// attempts to reach an endpoint; a second one is another endpoint, and no byte of the application was sent before it.
const attempts = 3

// Proxy is the outbound side of one pod.
type Proxy struct {
	*serving.Pod
	Pool *tunnel.Pool
}

// Handle takes over a connection of an application.
func (p *Proxy) Handle(ctx context.Context, connection *net.TCPConn) {
	_, source := sockets.Ends(connection)
	destination, err := sockets.OriginalDestination(connection)
	record := telemetry.Record{Direction: "outbound", Pod: p.Pod.Pod, Source: source.String(), Destination: destination.String(),
		Labels: p.Labels(source.Addr(), nil), Began: time.Now()}
	var identity string
	if err == nil {
		err = loop(source.Addr(), destination)
	}
	if err == nil {
		identity, err = p.Await(ctx)
	}
	var peer copying.End
	if err == nil {
		record.SourceIdentity = identity
		bounded, cancel := context.WithTimeout(ctx, p.Limits.Connect)
		peer, err = p.reach(bounded, identity, destination, &record)
		cancel()
	}
	if err != nil {
		serving.Reset(connection)
		p.Reporter.Refused(record, err.Error())
		return
	}
	p.Copy(ctx, record, copying.TCP{TCPConn: connection}, peer)
}

// loop refuses calls to the proxy itself.
func loop(own netip.Addr, destination netip.AddrPort) error {
	if sockets.OwnPort(destination.Port()) && (destination.Addr() == own || destination.Addr().IsLoopback()) {
		return fmt.Errorf("port %d is the proxy's own", destination.Port())
	}
	return nil
}

// reach connects to an endpoint. When one does not answer, the mesh is asked for another.
func (p *Proxy) reach(ctx context.Context, identity string, destination netip.AddrPort, record *telemetry.Record) (copying.End, error) {
	var failed error
	tried := map[netip.AddrPort]bool{}
	own := record.Labels
	for range attempts {
		route := p.Control.Outbound(p.Pod.Pod, destination)
		if tried[route.Target] && route.Action != mesh.Refuse {
			break
		}
		tried[route.Target] = true
		// Nothing of an attempt before: a tunnel that failed does not make a plain connection one.
		record.Labels, record.Destination, record.Tunnel = maps.Clone(own), destination.String(), false
		maps.Copy(record.Labels, route.Labels)
		end, err := p.connect(ctx, identity, destination, route, record)
		if err == nil {
			return end, nil
		}
		failed = errors.Join(failed, err)
		var refused *tunnel.StatusError
		if route.Action == mesh.Refuse || ctx.Err() != nil || errors.As(err, &refused) {
			break
		}
	}
	return nil, failed
}

func (p *Proxy) connect(ctx context.Context, identity string, destination netip.AddrPort, route mesh.Route,
	record *telemetry.Record) (copying.End, error) {
	switch route.Action {
	case mesh.PassThrough:
		return p.plain(p.Namespace.Dial(ctx, netip.Addr{}, destination))
	case mesh.Plain:
		record.Destination = route.Target.String()
		if sockets.OwnPort(route.Target.Port()) {
			return nil, fmt.Errorf("port %d is a proxy's own", route.Target.Port())
		}
		return p.plain(p.endpoint(ctx, route.Target))
	case mesh.Tunnel:
		record.Destination = route.Target.String()
		record.Tunnel = true
		if !route.Target.IsValid() || !route.Gateway.IsValid() || len(route.Accepted) == 0 {
			return nil, errors.New("a tunnel without a destination or without an identity to accept")
		}
		if sockets.OwnPort(route.Target.Port()) {
			return nil, fmt.Errorf("port %d is a proxy's own", route.Target.Port())
		}
		return p.tunnel(ctx, identity, route, record)
	case mesh.Refuse:
	}
	if route.Reason == "" {
		return nil, errors.New("refused by the mesh")
	}
	return nil, errors.New(route.Reason)
}

// endpoint connects to an endpoint of the mesh. One that answers nothing must leave time for another.
func (p *Proxy) endpoint(ctx context.Context, address netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Endpoint)
	defer cancel()
	return p.Namespace.Dial(ctx, netip.Addr{}, address)
}

func (p *Proxy) plain(connection *net.TCPConn, err error) (copying.End, error) {
	if err != nil {
		return nil, err
	}
	return copying.TCP{TCPConn: connection}, nil
}

func (p *Proxy) tunnel(ctx context.Context, identity string, route mesh.Route, record *telemetry.Record) (copying.End, error) {
	stream, state, err := p.Pool.Open(ctx, tunnel.Destination{
		Key:      tunnel.Key{Pod: p.Pod.Key, Identity: identity, Gateway: route.Gateway},
		Accepted: route.Accepted, Authority: route.Target,
		Dial: func(ctx context.Context) (net.Conn, error) {
			connection, err := p.endpoint(ctx, route.Gateway)
			if err != nil {
				return nil, err
			}
			return connection, nil
		},
		TLS: func(ctx context.Context) (*tls.Config, error) {
			return p.Identities.ClientConfig(ctx, identity, route.Accepted)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s: %w", route.Gateway, err)
	}
	// The handshake has verified the peer already; a name that cannot be read is no peer of the mesh all the same.
	if state == nil {
		stream.Abort()
		return nil, errors.New("a tunnel without TLS")
	}
	proved, err := p.Identities.PeerIdentity(*state)
	if err != nil {
		stream.Abort()
		return nil, fmt.Errorf("tunnel to %s: %w", route.Gateway, err)
	}
	record.DestinationIdentity = proved
	return stream, nil
}
