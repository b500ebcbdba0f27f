// Package inbound lets connections into a pod: plaintext that istio-cni's rules redirect, and tunnels. Nothing reaches the
// application before the policies have allowed it.
package inbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"bookstore.platform/istio/nodeproxy/copying"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/serving"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
	"bookstore.platform/istio/nodeproxy/tunnel"
)

// Proxy is the inbound side of one pod.
type Proxy struct {
	*serving.Pod
	Registry *Registry
}

func (p *Proxy) record(source, destination netip.AddrPort) telemetry.Record {
	labels := p.Labels(source.Addr(), serving.Side(p.Control.Describe(destination.Addr()), "destination_"))
	return telemetry.Record{Direction: "inbound", Pod: p.Pod.Pod, Source: source.String(), Destination: destination.String(),
		Labels: labels, Began: time.Now()}
}

// Plaintext handles a redirected connection.
func (p *Proxy) Plaintext(ctx context.Context, connection *net.TCPConn) {
	_, source := sockets.Ends(connection)
	destination, err := sockets.OriginalDestination(connection)
	record := p.record(source, destination)
	if err == nil {
		err = reachable(destination)
	}
	if err == nil {
		_, err = p.Await(ctx)
	}
	if err != nil {
		serving.Reset(connection)
		p.Reporter.Refused(record, err.Error())
		return
	}
	admitted, admission, err := p.Registry.Admit(ctx, p.Pod.Pod, mesh.Connection{Source: source.Addr(), Destination: destination})
	if err != nil {
		serving.Reset(connection)
		p.Reporter.Refused(record, err.Error())
		return
	}
	defer admission.Leave()
	application, err := p.dial(admitted, source.Addr(), destination)
	if err != nil {
		serving.Reset(connection)
		p.Reporter.Refused(record, err.Error())
		return
	}
	p.Copy(admitted, record, copying.TCP{TCPConn: connection}, copying.TCP{TCPConn: application})
}

// reachable refuses what would call the proxy itself, or what only the pod itself may call.
func reachable(destination netip.AddrPort) error {
	switch {
	case sockets.OwnPort(destination.Port()):
		return fmt.Errorf("port %d is the proxy's own", destination.Port())
	case destination.Addr().IsLoopback(), destination.Addr().IsUnspecified(), destination.Addr().IsMulticast():
		return fmt.Errorf("%s is no address of a pod", destination.Addr())
	}
	return nil
}

// dial connects to the application, which sees the client's address; that of the pod itself cannot be borrowed.
func (p *Proxy) dial(ctx context.Context, source netip.Addr, destination netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Connect)
	defer cancel()
	if source == destination.Addr() || source.Is6() != destination.Addr().Is6() {
		source = netip.Addr{}
	}
	return p.Namespace.Dial(ctx, source, destination)
}

// Connect judges a request for a tunnel. Headers of the request decide nothing.
func (p *Proxy) Connect(_ context.Context, request tunnel.Request) tunnel.Answer {
	ctx := p.Context() // not that of the request: it ends when the handler does
	destination, err := Authority(request.Authority, request.Local.Addr())
	record := p.record(request.Source, destination)
	record.Tunnel = true
	refuse := func(status int, err error) tunnel.Answer {
		if !destination.IsValid() {
			record.Destination = fmt.Sprintf("%.64q", request.Authority)
		}
		p.Reporter.Refused(record, fmt.Sprintf("%v (%d)", err, status))
		return tunnel.Answer{Status: status}
	}
	if err != nil {
		return refuse(http.StatusBadRequest, err)
	}
	identity, err := p.Identities.PeerIdentity(request.TLS)
	if err == nil && identity == "" {
		err = errors.New("the peer proved no identity")
	}
	if err != nil {
		return refuse(http.StatusUnauthorized, err)
	}
	record.SourceIdentity = identity
	if own, err := p.Await(ctx); err != nil {
		return refuse(http.StatusServiceUnavailable, err)
	} else {
		record.DestinationIdentity = own
	}
	release, err := p.Incoming.Enter(request.Source.Addr())
	if err != nil {
		return refuse(http.StatusServiceUnavailable, err)
	}
	admitted, admission, err := p.Registry.Admit(ctx, p.Pod.Pod,
		mesh.Connection{Source: request.Source.Addr(), Destination: destination, Identity: identity})
	if err != nil {
		release()
		return refuse(http.StatusUnauthorized, err)
	}
	application, err := p.dial(admitted, request.Source.Addr(), destination)
	if err != nil {
		admission.Leave()
		release()
		return refuse(http.StatusServiceUnavailable, err)
	}
	return tunnel.Answer{Status: http.StatusOK, Serve: func(stream tunnel.Stream) {
		defer release()
		defer admission.Leave()
		p.Copy(admitted, record, stream, copying.TCP{TCPConn: application})
	}}
}

// Authority reads where a tunnel is to end. Only the pod's own address is accepted: everything else would be an open relay.
func Authority(text string, own netip.Addr) (netip.AddrPort, error) {
	destination, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, errors.New("the authority is not an address and a port")
	}
	if destination.String() != text {
		// Proxies write it in one way only; whoever writes another one tries something.
		return netip.AddrPort{}, errors.New("the authority is not written as addresses are")
	}
	if destination.Addr().Zone() != "" || destination.Port() == 0 || destination.Addr() != destination.Addr().Unmap() {
		return netip.AddrPort{}, errors.New("the authority is not an address and a port of the mesh")
	}
	if destination.Addr() != own {
		return netip.AddrPort{}, errors.New("the authority is not this pod")
	}
	return destination, reachable(destination)
}
