// Package serving holds what all listeners of one pod have in common: its connections, their number, and their end.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bookstore.platform/istio/nodeproxy/copying"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
)

// Reasons for an end that the proxy itself makes.
var (
	ErrDeleted = errors.New("the pod was deleted")
	ErrDrained = errors.New("the proxy was stopped")
	ErrFull    = errors.New("there are as many connections as there may be")
	// ErrFullOfSource is ErrFull for one peer.
	ErrFullOfSource = errors.New("there are as many connections of this source as there may be")
)

// Limits bound what a pod can take of the proxy.
type Limits struct {
	Connections int           // open at once, of each pod: as many that it makes, and as many that come in, half of them of one source
	Tunnels     int           // accepted TLS connections at once, of each pod; a sixteenth of them of one source
	Names       int           // TCP connections for names at once, of each pod
	Connect     time.Duration // until a connection is made, certificates included
	Endpoint    time.Duration // until TCP to one of the mesh's endpoints is connected; less than Connect, so that another one can be tried
	Await       time.Duration // until discovery knows the pod
	Copying     copying.Limits
}

// DefaultLimits are those of production.
var DefaultLimits = Limits{Connections: 16384, Tunnels: 4096, Names: 128, Connect: 10 * time.Second, Endpoint: 4 * time.Second,
	Await: 5 * time.Second, Copying: copying.DefaultLimits}

// backlogTime is how long a listener that is being closed takes what waits already: with it the kernel would reset those.
const backlogTime = 20 * time.Millisecond

// acceptPause lets descriptors become free after an accept that failed for their lack.
const acceptPause = 50 * time.Millisecond

// Pod is a pod while it is served.
type Pod struct {
	mesh.Pod
	Namespace  *sockets.Namespace
	Control    mesh.Control
	Identities mesh.Identities
	Reporter   *telemetry.Reporter
	Log        *slog.Logger
	Limits     Limits

	// Key is unique for each time that a pod is served: what belongs to a former one is not taken for this one's.
	Key string

	// Outgoing, Incoming, Tunnels and Names count apart: what comes in leaves room for what the pod itself does.
	Outgoing, Incoming, Tunnels, Names *Slots

	ctx    context.Context
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
}

var served atomic.Uint64

// Begin makes the pod ready for connections.
func (p *Pod) Begin() {
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.Outgoing = NewSlots(p.Limits.Connections, p.Limits.Connections)
	p.Incoming = NewSlots(p.Limits.Connections, p.Limits.Connections/2)
	p.Tunnels = NewSlots(p.Limits.Tunnels, p.Limits.Tunnels/16)
	p.Names = NewSlots(p.Limits.Names, p.Limits.Names)
	p.Key = fmt.Sprintf("%s/%d", p.UID, served.Add(1))
}

// Context ends with the pod.
func (p *Pod) Context() context.Context { return p.ctx }

// Go runs something that Drain waits for.
func (p *Pod) Go(do func()) { p.group.Go(do) }

// Accept hands each connection that gets a slot to handle, on a goroutine of its own, until the listener is closed.
func (p *Pod) Accept(listener *net.TCPListener, slots *Slots, handle func(context.Context, *net.TCPConn)) {
	for {
		connection, err := listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				p.Log.Error("closing a listener", "error", err)
			}
			return
		}
		if err != nil {
			p.Log.Error("accepting failed", "pod", p.Pod.Namespace+"/"+p.Name, "error", err)
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		_, source := sockets.Ends(connection)
		release, err := slots.Enter(source.Addr())
		if err != nil {
			p.Refuse(slots == p.Outgoing, source, err)
			Reset(connection)
			continue
		}
		p.group.Go(func() {
			defer release()
			handle(p.ctx, connection)
		})
	}
}

// Refuse reports a connection that is refused before it is known where it is to go, by the queue of the access log: writing the line itself could stall all that comes after.
func (p *Pod) Refuse(outgoing bool, source netip.AddrPort, why error) {
	direction := "inbound"
	if outgoing {
		direction = "outbound"
	}
	p.Reporter.Refused(telemetry.Record{Direction: direction, Pod: p.Pod, Source: source.String(), Began: time.Now()}, why.Error())
}

// CloseSoon lets Accept take what waits, and then closes the listener.
func CloseSoon(listener *net.TCPListener) error {
	return listener.SetDeadline(time.Now().Add(backlogTime))
}

// Await waits until the control plane has its state and knows the pod, and returns the pod's identity.
func (p *Pod) Await(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Await)
	defer cancel()
	for {
		changed := p.Control.Changed() // before the question: no change is missed
		var err error
		if p.Control.Ready() {
			var identity string
			if identity, err = p.Control.Identity(p.Pod); err == nil {
				return identity, nil
			}
		} else {
			err = errors.New("the configuration of the mesh has not arrived")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waited for discovery: %w", err)
		}
	}
}

// Copy moves bytes until the end of the connection or of the context. Has that ended already (a policy that came while the connection
// to the application was made), nothing moves at all.
func (p *Pod) Copy(ctx context.Context, record telemetry.Record, source, destination copying.End) {
	if ctx.Err() != nil {
		source.Abort()
		destination.Abort()
		p.Reporter.Refused(record, context.Cause(ctx).Error())
		return
	}
	connection := copying.New(source, destination, p.Limits.Copying)
	open := p.Reporter.Opened(record, connection)
	stop := context.AfterFunc(ctx, func() { connection.Cut(context.Cause(ctx)) })
	err := connection.Run()
	stop()
	open.Closed(err)
}

// Stop ends all connections at once.
func (p *Pod) Stop(why error) {
	p.cancel(why)
	p.group.Wait()
}

// Drain waits for the connections, those of tunnels too, until the context ends, and then ends them. Listeners were closed before.
func (p *Pod) Drain(ctx context.Context, tunnels <-chan struct{}) {
	stop := context.AfterFunc(ctx, func() { p.cancel(ErrDrained) })
	defer stop()
	<-tunnels
	p.group.Wait()
	p.cancel(ErrDrained)
}

// Reset closes a connection that is refused; its peer sees an error.
func Reset(connection *net.TCPConn) { copying.TCP{TCPConn: connection}.Abort() }

// Labels joins those of a connection's sides.
func (p *Pod) Labels(source netip.Addr, destination mesh.Labels) mesh.Labels {
	labels := Side(p.Control.Describe(source), "source_")
	maps.Copy(labels, destination)
	return labels
}

// Side keeps the labels of one side of a connection.
func Side(all mesh.Labels, prefix string) mesh.Labels {
	labels := mesh.Labels{}
	for name, value := range all {
		if strings.HasPrefix(name, prefix) {
			labels[name] = value
		}
	}
	return labels
}

// Cancel ends all connections without waiting for them.
func (p *Pod) Cancel(why error) { p.cancel(why) }
